//! One listener: connections, and an end that lets calls in progress finish.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt};

/// More connections than this wait in the kernel's queue. Each costs some ten kilobytes and a descriptor.
const MAX_CONNECTIONS: usize = 4096;
/// A client that has not sent its request's head by then is dropped.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause after an accept that failed, e.g. for lack of descriptors: trying at once would burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `service` until `shutdown`, then for at most `drain` the calls in progress.
pub async fn serve<S>(listener: TcpListener, service: S, shutdown: CancellationToken, drain: Duration)
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            stream = accept(&listener, &slots) => stream,
        };
        match stream {
            Ok((stream, slot)) => {
                let one = connection(stream, service.clone(), shutdown.clone(), cut.clone());
                connections.spawn(async move {
                    one.await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "calls did not end in time and are cut off");
        cut.cancel();
        connections.wait().await;
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}

async fn connection<S>(stream: TcpStream, service: S, shutdown: CancellationToken, cut: CancellationToken)
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(HEAD_TIMEOUT));
    let service = service.map_request(|request: http::Request<Incoming>| request.map(Body::new));
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(served);
    let mut ending = false;
    loop {
        tokio::select! {
            // A connection that a client broke off is no event worth a log line.
            _ = served.as_mut() => return,
            () = shutdown.cancelled(), if !ending => {
                ending = true;
                served.as_mut().graceful_shutdown();
            }
            () = cut.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::sync::mpsc;

    use super::*;

    struct Running {
        base: String,
        shutdown: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start(router: Router, drain: Duration) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("address"));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router, shutdown.clone(), drain));
        Running { base, shutdown, task }
    }

    fn client() -> reqwest::Client {
        crate::install_crypto();
        reqwest::Client::new()
    }

    #[tokio::test]
    async fn a_call_in_progress_ends_before_the_listener_does() {
        let (entered, mut seen) = mpsc::channel(1);
        let (go, gate) = tokio::sync::watch::channel(false);
        let router = Router::new().route(
            "/slow",
            get(move || async move {
                entered.send(()).await.expect("test waits");
                gate.clone().wait_for(|open| *open).await.expect("test opens the gate");
                "done"
            }),
        );
        let server = start(router, Duration::from_secs(30)).await;
        let call = tokio::spawn(client().get(format!("{}/slow", server.base)).send());
        seen.recv().await.expect("handler entered");
        server.shutdown.cancel();
        assert!(!server.task.is_finished());
        go.send(true).expect("handler waits");
        let response = call.await.expect("joined").expect("answered");
        assert_eq!(response.text().await.expect("body"), "done");
        tokio::time::timeout(Duration::from_secs(10), server.task).await.expect("ends").expect("joined");
        assert!(client().get(&server.base).send().await.is_err(), "no new connections");
    }

    #[tokio::test]
    async fn a_call_that_never_ends_is_cut_off_after_the_drain_time() {
        let (entered, mut seen) = mpsc::channel(1);
        let router = Router::new().route(
            "/stuck",
            get(move || async move {
                entered.send(()).await.expect("test waits");
                std::future::pending::<()>().await;
            }),
        );
        let server = start(router, Duration::from_millis(50)).await;
        let call = tokio::spawn(client().get(format!("{}/stuck", server.base)).send());
        seen.recv().await.expect("handler entered");
        server.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), server.task).await.expect("ends").expect("joined");
        assert!(call.await.expect("joined").is_err(), "the connection was cut");
    }
}
