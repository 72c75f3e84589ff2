//! No write may leave once the lease is not surely ours: a process that was stopped and wakes up late
//! finds its fence closed before its first request, not after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt, ready};
use http::Request;
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use super::{RequestKind, is_write};

/// A write was held back because this process does not hold the lease.
#[derive(Debug, thiserror::Error)]
#[error("this process does not hold the leader lease; the write was not sent")]
pub struct Fenced;

/// Until when writes may leave. Cheap to share and to ask.
#[derive(Clone, Debug)]
pub struct Fence {
    start: Instant,
    /// Milliseconds after `start`.
    open_until: Arc<AtomicU64>,
}

impl Default for Fence {
    fn default() -> Self {
        Self { start: Instant::now(), open_until: Arc::new(AtomicU64::new(0)) }
    }
}

impl Fence {
    /// Opens the fence for `duration`, counted from `since` (the moment *before* the lease was renewed).
    pub fn open(&self, since: Instant, duration: Duration) {
        let until = since.saturating_duration_since(self.start) + duration;
        self.open_until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
    }

    /// Closes the fence at once.
    pub fn close(&self) {
        self.open_until.store(0, Ordering::Release);
    }

    /// May a write leave at `now`?
    pub fn is_open(&self, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.start).as_millis();
        now < u128::from(self.open_until.load(Ordering::Acquire))
    }
}

/// Refuses writes while the fence is closed; those of the lease itself pass.
#[derive(Clone)]
pub struct FenceLayer(pub Fence);

impl<S> Layer<S> for FenceLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, fence: self.0.clone() }
    }
}

/// See [`FenceLayer`].
pub struct Guarded<S> {
    inner: S,
    fence: Fence,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>>,
    S::Response: Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fenced = is_write(request.method())
            && RequestKind::of_path(request.uri().path()).resource != "leases"
            && !self.fence.is_open(Instant::now());
        if fenced {
            return ready(Err(Fenced.into())).boxed();
        }
        self.inner.call(request).map(|answer| answer.map_err(Into::into)).boxed()
    }
}

#[cfg(test)]
mod tests {
    use tower::{ServiceExt, service_fn};

    use super::*;

    #[tokio::test]
    async fn a_closed_fence_lets_only_reads_and_the_lease_pass() {
        let fence = Fence::default();
        let inner = service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(()) });
        let mut service = FenceLayer(fence.clone()).layer(inner);
        let cases = [
            ("GET", "/api/v1/namespaces/a/pods", true),
            ("PATCH", "/api/v1/namespaces/a/services/x", false),
            ("DELETE", "/apis/batch/v1/namespaces/a/jobs/x", false),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/x", true),
        ];
        for (method, path, passes) in cases {
            for open in [false, true] {
                if open {
                    fence.open(Instant::now(), Duration::from_secs(60))
                } else {
                    fence.close()
                }
                let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
                let answer = service.ready().await.unwrap().call(request).await;
                assert_eq!(answer.is_ok(), open || passes, "{method} {path}, open: {open}");
            }
        }
    }

    #[test]
    fn the_fence_closes_by_itself() {
        let fence = Fence::default();
        let now = Instant::now();
        fence.open(now, Duration::from_secs(10));
        assert!(fence.is_open(now + Duration::from_secs(9)));
        assert!(!fence.is_open(now + Duration::from_secs(11)));
    }
}
