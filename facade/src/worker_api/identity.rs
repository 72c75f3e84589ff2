//! Which Endpoint's worker, Model's importer, TrainingJob's trainer or Dataset's checker a pod is: by the name of
//! its ServiceAccount.

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
const TRAINER_PREFIX: &str = "easel-train-";
const CHECKER_PREFIX: &str = "easel-dataset-";

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

/// The trainer of one TrainingJob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trainer {
    pub namespace: String,
    pub job: String,
}

/// The checker of one Dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checker {
    pub namespace: String,
    pub dataset: String,
}

/// Who may read pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatasetReader {
    Trainer(Trainer),
    Checker(Checker),
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
    let (namespace, model) = owner(reviewed, IMPORTER_PREFIX, "a Model's importer")?;
    Ok(Importer { namespace, model })
}

fn trainer(reviewed: Reviewed) -> Result<Trainer, WorkerError> {
    let (namespace, job) = owner(reviewed, TRAINER_PREFIX, "a TrainingJob's trainer")?;
    Ok(Trainer { namespace, job })
}

fn checker(reviewed: Reviewed) -> Result<Checker, WorkerError> {
    let (namespace, dataset) = owner(reviewed, CHECKER_PREFIX, "a Dataset's checker")?;
    Ok(Checker { namespace, dataset })
}

fn dataset_reader(reviewed: Reviewed) -> Result<DatasetReader, WorkerError> {
    if object_of(&reviewed.user, TRAINER_PREFIX).is_some() {
        return trainer(reviewed).map(DatasetReader::Trainer);
    }
    checker(reviewed).map(DatasetReader::Checker)
}

/// Namespace and name of the object that the account belongs to.
fn owner(reviewed: Reviewed, prefix: &str, wanted: &'static str) -> Result<(String, String), WorkerError> {
    match object_of(&reviewed.user, prefix) {
        Some((namespace, object)) => Ok((namespace.to_owned(), object.to_owned())),
        None => Err(WorkerError::WrongIdentity { user: reviewed.user, wanted }),
    }
}

fn note(namespace: &str, object: &str) {
    Span::current().record("namespace", namespace).record("key", object);
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
        note(&importer.namespace, &importer.model);
        Ok(importer)
    }
}

impl FromRequestParts<App> for Trainer {
    type Rejection = WorkerError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, WorkerError> {
        let trainer = trainer(reviewed(parts, app).await?)?;
        note(&trainer.namespace, &trainer.job);
        Ok(trainer)
    }
}

impl FromRequestParts<App> for Checker {
    type Rejection = WorkerError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, WorkerError> {
        let checker = checker(reviewed(parts, app).await?)?;
        note(&checker.namespace, &checker.dataset);
        Ok(checker)
    }
}

impl FromRequestParts<App> for DatasetReader {
    type Rejection = WorkerError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, WorkerError> {
        let reader = dataset_reader(reviewed(parts, app).await?)?;
        match &reader {
            Self::Trainer(trainer) => note(&trainer.namespace, &trainer.job),
            Self::Checker(checker) => note(&checker.namespace, &checker.dataset),
        }
        Ok(reader)
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

    #[test]
    fn pictures_are_read_by_trainers_and_checkers_only() {
        let reader = |account: &str| {
            let user = format!("system:serviceaccount:team:{account}");
            dataset_reader(Reviewed { user, pod: None }).ok()
        };
        let (namespace, name) = ("team".to_owned(), "x".to_owned());
        let trainer = Trainer { namespace: namespace.clone(), job: name.clone() };
        assert_eq!(reader("easel-train-x"), Some(DatasetReader::Trainer(trainer)));
        assert_eq!(
            reader("easel-dataset-x"),
            Some(DatasetReader::Checker(Checker { namespace, dataset: name }))
        );
        for other in ["easel-import-x", "easel-endpoint-x", "easel-train-", "easel-dataset-", "default"] {
            assert_eq!(reader(other), None, "{other}");
        }
    }
}
