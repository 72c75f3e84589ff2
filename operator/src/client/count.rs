//! Counts the requests that leave for the API server, so that "an idle object costs no writes" is a number.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use kube::client::Body;
use prometheus::IntCounterVec;
use tower::{BoxError, Layer, Service};

use super::{RequestKind, is_write};

/// Counts by method, resource, subresource and status code (`error` when there was no answer).
#[derive(Clone)]
pub struct CountLayer {
    requests: IntCounterVec,
    writes: IntCounterVec,
}

impl CountLayer {
    /// Both counters have the labels `method`, `resource`, `subresource`, `code`.
    pub fn new(requests: IntCounterVec, writes: IntCounterVec) -> Self {
        Self { requests, writes }
    }
}

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        Count { inner, counters: self.clone() }
    }
}

/// See [`CountLayer`].
pub struct Count<S> {
    inner: S,
    counters: CountLayer,
}

impl<S, B> Service<Request<Body>> for Count<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.method().clone();
        let kind = RequestKind::of_path(request.uri().path());
        let counters = self.counters.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into);
            let code = answer.as_ref().map_or("error".to_owned(), |a| a.status().as_u16().to_string());
            let labels = [method.as_str(), &kind.resource, &kind.subresource, &code];
            counters.requests.with_label_values(&labels).inc();
            if is_write(&method) {
                counters.writes.with_label_values(&labels).inc();
            }
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;
    use tower::{ServiceExt, service_fn};

    use super::*;

    #[tokio::test]
    async fn reads_and_writes_are_told_apart() {
        let labels = ["method", "resource", "subresource", "code"];
        let requests = IntCounterVec::new(Opts::new("r", "r"), &labels).unwrap();
        let writes = IntCounterVec::new(Opts::new("w", "w"), &labels).unwrap();
        let service = service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(Response::new(())) });
        let mut service = CountLayer::new(requests.clone(), writes.clone()).layer(service);
        for method in ["GET", "PATCH", "PATCH"] {
            let request = Request::builder().method(method).uri("/api/v1/namespaces/a/services/x");
            service.ready().await.unwrap().call(request.body(Body::empty()).unwrap()).await.unwrap();
        }
        assert_eq!(requests.with_label_values(&["GET", "services", "", "200"]).get(), 1);
        assert_eq!(writes.with_label_values(&["PATCH", "services", "", "200"]).get(), 2);
        assert_eq!(writes.with_label_values(&["GET", "services", "", "200"]).get(), 0);
    }
}
