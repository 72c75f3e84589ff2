//! The authenticated caller, and the layer that lets no one else through.

use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::json;
use tracing::Span;

use super::{Denied, Scope, find};
use crate::app::App;
use crate::http::middleware::Cause;

/// Who calls, and what the key allows.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The tenant.
    pub namespace: String,
    /// Name of the ApiKey object.
    pub key_name: String,
    pub scopes: Vec<Scope>,
    /// The only Endpoint that the key may use; unset: every one of the namespace.
    pub endpoint: Option<String>,
}

impl Caller {
    /// # Errors
    /// [`Denied::Scope`] when the key has neither `scope` nor `Admin`.
    pub fn may(&self, scope: Scope) -> Result<(), Denied> {
        if self.scopes.iter().any(|own| *own == scope || *own == Scope::Admin) {
            return Ok(());
        }
        Err(Denied::Scope { namespace: self.namespace.clone(), name: self.key_name.clone(), scope })
    }

    /// May this caller see that endpoint?
    pub fn sees_endpoint(&self, name: &str) -> bool {
        self.endpoint.as_deref().is_none_or(|own| own == name)
    }
}

/// The layer of every route that needs a key: authenticates, checks the scope, leaves the [`Caller`] to handlers.
pub async fn require(State((app, scope)): State<(App, Scope)>, mut request: Request, next: Next) -> Response {
    if !app.directory.keys_known() {
        return not_yet_known();
    }
    let presented = request.headers().get("x-api-key").map(HeaderValue::as_bytes);
    let caller = presented
        .ok_or(Denied::Missing)
        .and_then(|key| find(app.directory.keys(), key, Timestamp::now()))
        .and_then(|caller| caller.may(scope).map(|()| caller));
    match caller {
        Ok(caller) => {
            let span = Span::current();
            span.record("namespace", caller.namespace.as_str()).record("key", caller.key_name.as_str());
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(denied) => forbidden(&denied),
    }
}

/// API Gateway's answer to a wrong key, which clients test for.
fn forbidden(denied: &Denied) -> Response {
    let mut response = (StatusCode::FORBIDDEN, Json(json!({"message": "Forbidden"}))).into_response();
    response.extensions_mut().insert(Cause::of(denied));
    response
}

/// Before the ApiKeys are read, nobody can say whether a key is good.
fn not_yet_known() -> Response {
    let body = json!({"message": "Service Unavailable", "statusCode": 503, "error": "the API keys are not read yet"});
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response.extensions_mut().insert(Cause("the cache of ApiKeys is not synced".into()));
    response
}

impl FromRequestParts<App> for Caller {
    type Rejection = Response;

    /// Only a route behind [`require`] has a caller; anywhere else this refuses.
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Response> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| forbidden(&Denied::Missing))
    }
}
