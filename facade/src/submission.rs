//! Taking a job: the way from a translated request to a row in the job store. No dialect in here.

use easel_protocol::{GenerationRequest, InvalidRequest, RequestLimits};
use easel_store::jobs::{self, Job, JobId, NewJob, Sha256, StoreError};
use jiff::Timestamp;
use serde_json::Value;

use crate::app::App;
use crate::auth::Caller;
use crate::catalog::{Directory, EndpointView, FileView, ModelView, Service};

/// Type of the Models that can be the base of a picture.
const CHECKPOINT: &str = "Checkpoint";
/// How many attempts a job gets (a worker that dies, a retriable failure).
const MAX_TRIES: u32 = 3;
/// Names listed in an error at most.
const NAMES_SHOWN: usize = 20;

/// Why a job was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("the caches of Endpoints and Models are not filled yet")]
    NotSynced,
    #[error("no endpoint is named")]
    EndpointMissing,
    #[error("endpoint \"{name}\" is not found{}", list_of(.known))]
    UnknownEndpoint { name: String, known: Vec<String> },
    #[error("endpoint \"{name}\" is not InService: {reason}: {message}{}", and_last(.last_failure))]
    NotReady { name: String, reason: String, message: String, last_failure: Option<String> },
    #[error("no checkpoint is named")]
    CheckpointMissing,
    #[error("{} checkpoints cannot be used", .0.len())]
    Checkpoints(Vec<UnusableCheckpoint>),
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    #[error("the queue of endpoint \"{endpoint}\" is full: {pending} jobs wait, {limit} may")]
    QueueFull { endpoint: String, pending: u64, limit: u32 },
    #[error("{field} {problem}")]
    Field { field: &'static str, problem: String },
    #[error("cannot store the job")]
    Store { source: StoreError },
}

/// Why one checkpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnusableCheckpoint {
    /// No Model of that name; these are there.
    Unknown { name: String, known: Vec<String> },
    /// The endpoint does not offer it.
    NotListed { name: String, endpoint: String },
    /// It is being imported, or its import failed.
    NotReady { name: String, reason: String, message: String },
}

fn list_of(names: &[String]) -> String {
    match names {
        [] => "; there is none".to_owned(),
        names => format!("; known are {}", names.join(", ")),
    }
}

fn and_last(failure: &Option<String>) -> String {
    failure.as_ref().map_or_else(String::new, |failure| format!(" (last failure: {failure})"))
}

/// What a dialect asks for. `request.checkpoint` is filled here.
pub struct Wish {
    pub dialect: &'static str,
    /// Unset: the endpoint that the key stands for.
    pub endpoint: Option<String>,
    /// Names as the client writes them; the first is the base model, the others must exist too.
    pub checkpoints: Vec<String>,
    pub request: GenerationRequest,
    pub idempotency_key: Option<String>,
}

/// Endpoint and models that a wish means.
pub struct Resolved {
    pub endpoint: EndpointView,
    /// In the order of [`Wish::checkpoints`], never empty.
    pub models: Vec<(ModelView, FileView)>,
}

/// Takes the job, or says why not. `keep` makes what the dialect wants to keep with it.
///
/// # Errors
/// [`SubmitError`]; nothing is stored then.
pub async fn submit(
    app: &App,
    caller: &Caller,
    wish: Wish,
    keep: impl FnOnce(&Resolved) -> Value,
) -> Result<(Job, Resolved), SubmitError> {
    if !app.directory.objects_known() {
        return Err(SubmitError::NotSynced);
    }
    let resolved = resolve(&app.directory, caller, &wish)?;
    let (model, file) = resolved.models.first().ok_or(SubmitError::CheckpointMissing)?;
    let limits = &resolved.endpoint.limits;
    let request = GenerationRequest { checkpoint: model.name.clone(), ..wish.request };
    request.validate(&RequestLimits {
        max_pixels: limits.max_pixels,
        max_steps: limits.max_steps,
        max_pictures: limits.max_pictures,
        ..RequestLimits::default()
    })?;
    let checkpoint: Sha256 = file.sha256.parse().map_err(|_| unreadable_hash(model))?;
    let job = NewJob {
        id: JobId::new(),
        namespace: caller.namespace.clone(),
        endpoint: resolved.endpoint.name.clone(),
        dialect: wish.dialect.to_owned(),
        request,
        checkpoint,
        dialect_params: keep(&resolved),
        idempotency_key: wish.idempotency_key,
        max_tries: MAX_TRIES,
        timeout_seconds: limits.timeout.as_secs(),
    };
    let submitted = app.jobs.submit(job, limits.max_pending, Timestamp::now()).await.map_err(refused)?;
    Ok((submitted.job, resolved))
}

fn resolve(directory: &Directory, caller: &Caller, wish: &Wish) -> Result<Resolved, SubmitError> {
    let endpoint = find_endpoint(directory, caller, wish.endpoint.as_deref())?;
    if endpoint.service != Service::InService {
        let EndpointView { name, condition, last_failure, .. } = endpoint;
        return Err(SubmitError::NotReady {
            name,
            reason: condition.reason,
            message: condition.message,
            last_failure,
        });
    }
    if wish.checkpoints.is_empty() {
        return Err(SubmitError::CheckpointMissing);
    }
    let available = directory.models(&caller.namespace, CHECKPOINT);
    let (mut models, mut unusable) = (Vec::new(), Vec::new());
    for name in &wish.checkpoints {
        match find_checkpoint(&available, &endpoint, name) {
            Ok(found) => models.push(found),
            Err(reason) => unusable.push(reason),
        }
    }
    if unusable.is_empty() {
        Ok(Resolved { endpoint, models })
    } else {
        Err(SubmitError::Checkpoints(unusable))
    }
}

fn find_endpoint(
    directory: &Directory,
    caller: &Caller,
    name: Option<&str>,
) -> Result<EndpointView, SubmitError> {
    let name = name.or(caller.endpoint.as_deref()).ok_or(SubmitError::EndpointMissing)?;
    let visible = Some(name).filter(|name| caller.sees_endpoint(name));
    visible.and_then(|name| directory.endpoint(&caller.namespace, name)).ok_or_else(|| {
        let known = directory.endpoints(&caller.namespace).into_iter().map(|endpoint| endpoint.name);
        let known = known.filter(|name| caller.sees_endpoint(name)).take(NAMES_SHOWN).collect();
        SubmitError::UnknownEndpoint { name: shown(name), known }
    })
}

fn find_checkpoint(
    available: &[ModelView],
    endpoint: &EndpointView,
    name: &str,
) -> Result<(ModelView, FileView), UnusableCheckpoint> {
    let offered = |model: &ModelView| endpoint.any_model || endpoint.models.contains(&model.name);
    let mut called = available.iter().filter(|model| model.is_called(name)).peekable();
    if called.peek().is_none() {
        let known = available.iter().filter(|model| offered(model) && model.ready.holds);
        let known = known.map(|model| model.display_name.clone()).take(NAMES_SHOWN).collect();
        return Err(UnusableCheckpoint::Unknown { name: shown(name), known });
    }
    let Some(model) = called.find(|model| offered(model)) else {
        let endpoint = endpoint.name.clone();
        return Err(UnusableCheckpoint::NotListed { name: shown(name), endpoint });
    };
    match model.file_called(name).filter(|_| model.ready.holds) {
        Some(file) => Ok((model.clone(), file.clone())),
        None => Err(UnusableCheckpoint::NotReady {
            name: shown(name),
            reason: model.ready.reason.clone(),
            message: model.ready.message.clone(),
        }),
    }
}

/// A caller's word, short enough to be repeated to him.
fn shown(name: &str) -> String {
    name.chars().take(128).collect()
}

fn unreadable_hash(model: &ModelView) -> SubmitError {
    SubmitError::Checkpoints(vec![UnusableCheckpoint::NotReady {
        name: model.display_name.clone(),
        reason: "NoChecksum".into(),
        message: "its status holds no SHA-256".into(),
    }])
}

fn refused(error: jobs::SubmitError) -> SubmitError {
    match error {
        jobs::SubmitError::QueueFull { pending, limit, endpoint } => {
            SubmitError::QueueFull { endpoint, pending, limit }
        }
        jobs::SubmitError::Invalid { field, problem } => {
            SubmitError::Field { field, problem: problem.into() }
        }
        jobs::SubmitError::IdTaken { id } => {
            SubmitError::Field { field: "job id", problem: format!("{id} is taken") }
        }
        jobs::SubmitError::Store(source) => SubmitError::Store { source },
    }
}
