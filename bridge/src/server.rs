//! The listening side: accepts connections, bounds them, and closes them in good order.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::limits::Limits;
use crate::write_timeout::WriteTimeout;

/// Headers of a request. The bridge reads six.
const HEADERS_MAX: usize = 64;

/// The wait after a connection could not be accepted, usually for want of file descriptors: asking again at once
/// would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Serves until `shutdown`, then lets what is under way finish.
pub(crate) async fn run(listener: TcpListener, router: Router, limits: &Limits, shutdown: &CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout);
    http.max_buf_size(limits.head_bytes).max_headers(HEADERS_MAX);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.connections));
    loop {
        let (stream, slot) = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            () = shutdown.cancelled() => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let stream = TokioIo::new(WriteTimeout::new(stream, limits.write_timeout));
        let connection = graceful.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            let _slot = slot;
            if let Err(error) = connection.await {
                // The client's doing: it went away, was too slow, or spoke something else.
                debug!(%error, "A connection ended early");
            }
        });
    }
    // Newcomers are refused from here on, and go to another bridge.
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        warn!("Requests were still under way at the end of the drain time");
    }
    info!(part = "bridge", "Stopped");
}

/// The next connection, once there is a slot for it.
async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are one small write; waiting to fill a packet would only delay them. Refused is harmless.
                let _ = stream.set_nodelay(true);
                return (stream, slot);
            }
            Err(error) => {
                warn!(%error, "Could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
