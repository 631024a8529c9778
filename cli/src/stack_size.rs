//! Room on the stacks for what a message's headers may hold.
//!
//! AMQP's headers are tables that may hold tables. Our AMQP library reads them by recursion, on a thread whose stack
//! it leaves to the standard library: one message with a few thousand tables inside each other ends the process, comes
//! again, and ends the next. That size can only be given by the environment, before the first thread.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use tracing::warn;

/// What Rust's standard library reads the size of a thread's stack from, in bytes.
const VARIABLE: &str = "RUST_MIN_STACK";

/// Headers must fit into one frame, of 128 KiB unless the broker is configured otherwise, and a level takes at least
/// five bytes: 26,000 levels. Their reading was measured to need less than 64 MiB; without optimisation, ten times
/// that for 10,000 levels. It is address space, not memory, until somebody sends such a message.
const STACK_BYTES: &str = if cfg!(debug_assertions) { "536870912" } else { "134217728" };

/// Starts this program again in its own place, with the same arguments, unless the size is given already. To be called
/// by who takes deliveries, before anything else.
pub(crate) fn make_room() {
    if is_size(crate::environment::raw(VARIABLE).as_deref()) {
        return;
    }
    let error = match std::env::current_exe() {
        Ok(program) => {
            let mut arguments = std::env::args_os();
            let name = arguments.next();
            let mut command = Command::new(&program);
            command.arg0(name.as_deref().unwrap_or(OsStr::new("loyalty"))).args(arguments);
            // Only an error returns.
            command.env(VARIABLE, STACK_BYTES).exec()
        }
        Err(error) => error,
    };
    warn!(%error, "Thread stacks stay small: a message with deeply nested headers can crash this process. Set {VARIABLE}");
}

/// Whether the standard library takes it for a size. Anything else, such as a variable that is there and empty, it
/// passes over.
fn is_size(given: Option<&OsStr>) -> bool {
    given.and_then(OsStr::to_str).is_some_and(|text| text.parse::<usize>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_is_a_size() {
        let check = |given: Option<&str>, expected| assert_eq!(is_size(given.map(OsStr::new)), expected, "{given:?}");
        check(None, false);
        check(Some(""), false);
        check(Some("64M"), false);
        check(Some("1048576"), true);
        // What we give ourselves, or we would start again for ever.
        check(Some(STACK_BYTES), true);
    }
}
