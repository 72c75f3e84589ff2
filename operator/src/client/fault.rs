//! Faults on purpose: the n-th request of a kind fails, or the process dies right after it. For tests of
//! this crate (with a crash that a test can observe) and of whole clusters (`EASEL_FAULTS`).
//!
//! The grammar is `ACTION:METHOD:N`, comma separated. Actions: `crash` (the request is carried out, its
//! answer never seen), `fail500` and `conflict` (answered without being carried out), `timeout` (no answer,
//! not carried out), `lost` (carried out, then no answer). `METHOD` is an HTTP method, `WRITE` or `ANY`;
//! lease requests are never counted, so that the n-th request is the same one in every run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::client::{Body, DynBody};
use tower::{BoxError, Layer, Service};

use super::{RequestKind, is_write};

/// What a crash does. The binary aborts; a test stops answering.
pub type Crash = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Crash,
    Fail500,
    Conflict,
    Timeout,
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    Any,
    Write,
    Only(Method),
}

impl Which {
    fn matches(&self, method: &Method) -> bool {
        match self {
            Self::Any => true,
            Self::Write => is_write(method),
            Self::Only(only) => only == method,
        }
    }
}

#[derive(Debug)]
struct Fault {
    action: Action,
    which: Which,
    at: u64,
    seen: AtomicU64,
}

/// A list of faults that does not parse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "fault \"{text}\" is not ACTION:METHOD:N with an action of crash, fail500, conflict, timeout, lost, \
     a method of GET, POST, PUT, PATCH, DELETE, WRITE, ANY and N from 1"
)]
pub struct FaultSpecError {
    text: String,
}

/// The faults of one process. Each strikes once.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Vec<Fault>>);

impl std::str::FromStr for Faults {
    type Err = FaultSpecError;

    fn from_str(list: &str) -> Result<Self, FaultSpecError> {
        let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
        let faults = parts.map(|part| parse(part).ok_or_else(|| FaultSpecError { text: part.to_owned() }));
        Ok(Self(Arc::new(faults.collect::<Result<_, _>>()?)))
    }
}

fn parse(text: &str) -> Option<Fault> {
    let mut words = text.split(':');
    let action = match words.next()? {
        "crash" => Action::Crash,
        "fail500" => Action::Fail500,
        "conflict" => Action::Conflict,
        "timeout" => Action::Timeout,
        "lost" => Action::Lost,
        _ => return None,
    };
    let which = match words.next()? {
        "ANY" => Which::Any,
        "WRITE" => Which::Write,
        method @ ("GET" | "POST" | "PUT" | "PATCH" | "DELETE") => Which::Only(method.parse().ok()?),
        _ => return None,
    };
    let at = words.next()?.parse().ok().filter(|n| *n > 0)?;
    words.next().is_none().then_some(Fault { action, which, at, seen: AtomicU64::new(0) })
}

impl Faults {
    /// Is there nothing to do?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Counts a request and tells what is to happen to it.
    fn strike(&self, method: &Method, path: &str) -> Option<Action> {
        if self.0.is_empty() || RequestKind::of_path(path).resource == "leases" {
            return None;
        }
        let hits = self.0.iter().filter(|fault| fault.which.matches(method));
        // Every matching fault counts the request, also when an earlier one strikes.
        let struck: Vec<Action> = hits
            .filter(|fault| fault.seen.fetch_add(1, Ordering::Relaxed) + 1 == fault.at)
            .map(|fault| fault.action)
            .collect();
        struck.first().copied()
    }
}

/// Puts [`Faults`] between the operator and the API server.
#[derive(Clone)]
pub struct FaultLayer {
    faults: Faults,
    crash: Crash,
}

impl FaultLayer {
    pub fn new(faults: Faults, crash: Crash) -> Self {
        Self { faults, crash }
    }
}

impl<S> Layer<S> for FaultLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner, layer: self.clone() }
    }
}

/// See [`FaultLayer`].
pub struct Faulty<S> {
    inner: S,
    layer: FaultLayer,
}

impl<S> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<Box<DynBody>>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Box<DynBody>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Box<DynBody>>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let action = self.layer.faults.strike(request.method(), request.uri().path());
        if let Some(action) = action {
            tracing::warn!(?action, method = %request.method(), path = request.uri().path(), "injected fault");
        }
        let crash = self.layer.crash.clone();
        match action {
            Some(Action::Fail500) => {
                Box::pin(async { Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")) })
            }
            Some(Action::Conflict) => Box::pin(async { Ok(refusal(StatusCode::CONFLICT, "Conflict")) }),
            Some(Action::Timeout) => Box::pin(async { Err(no_answer()) }),
            Some(Action::Lost) => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    answer.await.map_err(Into::into)?;
                    Err(no_answer())
                })
            }
            Some(Action::Crash) => {
                let answer = self.inner.call(request);
                Box::pin(async move {
                    answer.await.map_err(Into::into)?;
                    crash();
                    Err(no_answer())
                })
            }
            None => {
                let answer = self.inner.call(request);
                Box::pin(async move { answer.await.map_err(Into::into) })
            }
        }
    }
}

fn no_answer() -> BoxError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "injected fault: no answer").into()
}

/// A `metav1.Status` as the API server would send it.
fn refusal(code: StatusCode, reason: &str) -> Response<Box<DynBody>> {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": reason, "message": "injected fault", "code": code.as_u16(),
    });
    let body = Full::from(status.to_string()).map_err(|never| -> BoxError { match never {} });
    let mut response = Response::new(Box::new(body) as Box<DynBody>);
    *response.status_mut() = code;
    response
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use tower::{ServiceExt, service_fn};

    use super::*;

    fn empty() -> Box<DynBody> {
        Box::new(Full::default().map_err(|never| -> BoxError { match never {} }))
    }

    #[test]
    fn a_wrong_fault_is_named() {
        for text in ["crash", "crash:PATCH", "crash:PATCH:0", "melt:GET:1", "crash:get:1", "crash:GET:1:2"] {
            let error = format!("fail500:ANY:1, {text}").parse::<Faults>().map(|_| ()).unwrap_err();
            assert_eq!(error, FaultSpecError { text: text.into() });
        }
        assert!("".parse::<Faults>().unwrap().is_empty());
    }

    /// Sends the methods in order; tells how each was answered and how many reached the server.
    async fn send(faults: &str, methods: &[&str]) -> (Vec<String>, u64, bool) {
        let reached = Arc::new(AtomicU64::new(0));
        let crashed = Arc::new(AtomicBool::new(false));
        let (count, flag) = (reached.clone(), crashed.clone());
        let server = service_fn(move |_: Request<Body>| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, BoxError>(Response::new(empty())) }
        });
        let crash: Crash = Arc::new(move || flag.store(true, Ordering::Relaxed));
        let mut service = FaultLayer::new(faults.parse().unwrap(), crash).layer(server);
        let mut answers = Vec::new();
        for method in methods {
            let path = "/api/v1/namespaces/a/services/x";
            let request = Request::builder().method(*method).uri(path).body(Body::empty()).unwrap();
            let answer = service.ready().await.unwrap().call(request).await;
            answers.push(answer.map_or("none".to_owned(), |a| a.status().as_u16().to_string()));
        }
        (answers, reached.load(Ordering::Relaxed), crashed.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn the_nth_request_of_the_kind_is_struck_once() {
        let methods = ["GET", "PATCH", "GET", "PATCH", "PATCH"];
        let cases: [(&str, [&str; 5], u64, bool); 7] = [
            ("", ["200", "200", "200", "200", "200"], 5, false),
            ("fail500:PATCH:2", ["200", "200", "200", "500", "200"], 4, false),
            ("conflict:GET:1", ["409", "200", "200", "200", "200"], 4, false),
            ("timeout:WRITE:3", ["200", "200", "200", "200", "none"], 4, false),
            ("lost:ANY:2", ["200", "none", "200", "200", "200"], 5, false),
            ("crash:PATCH:1", ["200", "none", "200", "200", "200"], 5, true),
            ("fail500:GET:1,conflict:PATCH:3", ["500", "200", "200", "200", "409"], 3, false),
        ];
        for (faults, answers, reached, crashed) in cases {
            let want = (answers.map(str::to_owned).to_vec(), reached, crashed);
            assert_eq!(send(faults, &methods).await, want, "{faults}");
        }
    }

    #[tokio::test]
    async fn lease_requests_are_neither_counted_nor_struck() {
        let server = service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(Response::new(empty())) });
        let layer = FaultLayer::new("fail500:ANY:1".parse().unwrap(), Arc::new(|| ()));
        let mut service = layer.layer(server);
        let leases = "/apis/coordination.k8s.io/v1/namespaces/a/leases/x";
        for (path, want) in [(leases, 200), ("/api/v1/namespaces/a/pods", 500)] {
            let request = Request::builder().method("GET").uri(path).body(Body::empty()).unwrap();
            let answer = service.ready().await.unwrap().call(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), want, "{path}");
        }
    }
}
