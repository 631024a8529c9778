//! Work that no test waits for.

/// Does it on a thread and a runtime of its own: those of the test may be ending. What is not done when the process
/// ends stays undone; it only ever tidies servers that are thrown away soon after.
pub(crate) fn tidy(work: impl Future<Output = ()> + Send + 'static) {
    let run = || {
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            runtime.block_on(work);
        }
    };
    // Without a thread nothing is tidied, and no test fails for that.
    drop(std::thread::Builder::new().name("tidy".into()).spawn(run));
}
