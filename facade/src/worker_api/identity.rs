//! Which Endpoint's worker, or which Model's importer, a pod is: by the name of its ServiceAccount.

use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tracing::Span;

use super::error::WorkerError;
use crate::app::App;
use crate::catalog::Reviewed;

const USER_PREFIX: &str = "system:serviceaccount:";
const WORKER_PREFIX: &str = "easel-endpoint-";
const IMPORTER_PREFIX: &str = "easel-import-";

/// A worker of one Endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    pub namespace: String,
    pub endpoint: String,
    /// Its pod, by which leases are told apart.
    pub pod: String,
}

/// The importer of one Model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Importer {
    pub namespace: String,
    pub model: String,
}

/// Namespace and object of a ServiceAccount whose name has this prefix.
fn object_of<'a>(user: &'a str, prefix: &str) -> Option<(&'a str, &'a str)> {
    let (namespace, account) = user.strip_prefix(USER_PREFIX)?.split_once(':')?;
    let object = account.strip_prefix(prefix).filter(|object| !object.is_empty())?;
    Some((namespace, object))
}

fn worker(reviewed: Reviewed) -> Result<Worker, WorkerError> {
    let Some((namespace, endpoint)) = object_of(&reviewed.user, WORKER_PREFIX) else {
        return Err(WorkerError::WrongIdentity { user: reviewed.user, wanted: "an Endpoint's worker" });
    };
    let (namespace, endpoint) = (namespace.to_owned(), endpoint.to_owned());
    // A token that was not made for a pod names none; its account is then one worker.
    let pod = reviewed.pod.unwrap_or(reviewed.user);
    Ok(Worker { namespace, endpoint, pod })
}

fn importer(reviewed: Reviewed) -> Result<Importer, WorkerError> {
    let Some((namespace, model)) = object_of(&reviewed.user, IMPORTER_PREFIX) else {
        return Err(WorkerError::WrongIdentity { user: reviewed.user, wanted: "a Model's importer" });
    };
    Ok(Importer { namespace: namespace.to_owned(), model: model.to_owned() })
}

async fn reviewed(parts: &Parts, app: &App) -> Result<Reviewed, WorkerError> {
    let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    let token = token.filter(|token| !token.is_empty()).ok_or(WorkerError::NoToken)?;
    app.tokens.review(&*app.cluster, token).await?.ok_or(WorkerError::InvalidToken)
}

impl FromRequestParts<App> for Worker {
    type Rejection = WorkerError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, WorkerError> {
        let worker = worker(reviewed(parts, app).await?)?;
        Span::current().record("namespace", worker.namespace.as_str()).record("key", worker.pod.as_str());
        Ok(worker)
    }
}

impl FromRequestParts<App> for Importer {
    type Rejection = WorkerError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, WorkerError> {
        let importer = importer(reviewed(parts, app).await?)?;
        Span::current()
            .record("namespace", importer.namespace.as_str())
            .record("key", importer.model.as_str());
        Ok(importer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_operators_accounts_are_somebody() {
        let cases = [
            ("system:serviceaccount:team:easel-endpoint-demo", Some(("team", "demo")), None),
            ("system:serviceaccount:team:easel-import-m-1", None, Some(("team", "m-1"))),
            ("system:serviceaccount:team:easel-endpoint-", None, None),
            ("system:serviceaccount:team:default", None, None),
            ("system:serviceaccount:easel-endpoint-demo", None, None),
            ("team:easel-endpoint-demo", None, None),
            ("admin", None, None),
        ];
        for (user, want_worker, want_importer) in cases {
            let reviewed = || Reviewed { user: user.into(), pod: Some("pod".into()) };
            let worker = worker(reviewed()).ok().map(|worker| (worker.namespace, worker.endpoint));
            assert_eq!(worker, want_worker.map(|(a, b)| (a.to_owned(), b.to_owned())), "{user}");
            let importer = importer(reviewed()).ok().map(|importer| (importer.namespace, importer.model));
            assert_eq!(importer, want_importer.map(|(a, b)| (a.to_owned(), b.to_owned())), "{user}");
        }
    }
}
