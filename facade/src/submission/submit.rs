//! From a wish to a row.

use easel_protocol::networks::{MAX_NETWORKS, NetworkTag, prompt_networks};
use easel_protocol::{GenerationRequest, InvalidRequest, NetworkKind, RequestLimits};
use easel_store::jobs::{Job, JobId, NewJob, Sha256};
use jiff::Timestamp;
use serde_json::Value;

use super::error::{SubmitError, UnusableModel, WhyUnusable};
use super::find::{NAMES_SHOWN, find, shown};
use super::networks::{self, UsedNetwork};
use crate::app::App;
use crate::auth::Caller;
use crate::catalog::{Directory, EndpointView, FileView, ModelView, Service};

/// Type of the Models that can be the base of a picture.
const CHECKPOINT: &str = "Checkpoint";
/// How many attempts a job gets (a worker that dies, a retriable failure).
const MAX_TRIES: u32 = 3;

/// What a dialect asks for. `request.checkpoint` and `request.networks` are filled here.
pub struct Wish {
    pub dialect: &'static str,
    /// Unset: the endpoint that the key stands for.
    pub endpoint: Option<String>,
    /// Names as the client writes them; the first is the base model, the others must exist too.
    pub checkpoints: Vec<String>,
    /// Networks that the client lists beside the prompts. They must be there; whether they act, the prompts say.
    pub networks: Vec<(NetworkKind, String)>,
    /// The autoencoder to use instead of the checkpoint's own.
    pub vae: Option<String>,
    pub request: GenerationRequest,
    pub idempotency_key: Option<String>,
}

/// Endpoint and models that a wish means.
pub struct Resolved {
    pub endpoint: EndpointView,
    /// In the order of [`Wish::checkpoints`], never empty.
    pub models: Vec<(ModelView, FileView)>,
    /// What the prompts, and the choice of an autoencoder, bring in.
    pub networks: Vec<UsedNetwork>,
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
    let endpoint = find_endpoint(&app.directory, caller, wish.endpoint.as_deref())?;
    let limits = limits(&endpoint);
    // Before the prompts are read: their length is one of the limits.
    wish.request.validate(&limits)?;
    let resolved = resolve(&app.directory, endpoint, &wish)?;
    let (model, file) = resolved.models.first().ok_or(SubmitError::CheckpointMissing)?;
    let networks = resolved.networks.iter().map(|used| used.reference.clone()).collect();
    let request = GenerationRequest { checkpoint: model.name.clone(), networks, ..wish.request };
    request.validate(&limits)?;
    let limits = &resolved.endpoint.limits;
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
    let submitted = app.jobs.submit(job, limits.max_pending, Timestamp::now()).await?;
    Ok((submitted.job, resolved))
}

fn limits(endpoint: &EndpointView) -> RequestLimits {
    let limits = &endpoint.limits;
    RequestLimits {
        max_pixels: limits.max_pixels,
        max_steps: limits.max_steps,
        max_pictures: limits.max_pictures,
        ..RequestLimits::default()
    }
}

fn resolve(directory: &Directory, endpoint: EndpointView, wish: &Wish) -> Result<Resolved, SubmitError> {
    if wish.checkpoints.is_empty() {
        return Err(SubmitError::CheckpointMissing);
    }
    let tags = prompt_networks(&wish.request.prompt);
    let named = tags.len().max(wish.networks.len()).max(wish.checkpoints.len());
    if named > MAX_NETWORKS {
        let (value, allowed) = (named.to_string(), format!("at most {MAX_NETWORKS} are allowed"));
        return Err(InvalidRequest { field: "number of models", value, allowed }.into());
    }
    let of_type = |model_type: &str| directory.models(&endpoint.namespace, model_type);
    let available = of_type(CHECKPOINT);
    let (mut models, mut unusable) = (Vec::new(), Vec::new());
    for name in &wish.checkpoints {
        match find(&available, &endpoint, CHECKPOINT, name, |model| model.is_called(name)) {
            Ok(found) => models.push(found),
            Err(reason) => unusable.push(reason),
        }
    }
    for (kind, name) in &wish.networks {
        unusable.extend(networks::named(*kind, name, &endpoint, &of_type(kind.model_type())).err());
    }
    let vae = wish.vae.clone().map(|name| NetworkTag { kind: NetworkKind::Vae, name });
    let wanted = tags.into_iter().chain(vae);
    let (networks, missing) = networks::resolve(wanted, &wish.request, &endpoint, of_type);
    for missing in missing {
        // A client may list what its prompt names too.
        if !unusable.contains(&missing) {
            unusable.push(missing);
        }
    }
    if unusable.is_empty() {
        Ok(Resolved { endpoint, models, networks })
    } else {
        Err(SubmitError::Models(unusable))
    }
}

/// The endpoint that is meant, if it takes jobs.
fn find_endpoint(
    directory: &Directory,
    caller: &Caller,
    name: Option<&str>,
) -> Result<EndpointView, SubmitError> {
    let name = name.or(caller.endpoint.as_deref()).ok_or(SubmitError::EndpointMissing)?;
    let visible = Some(name).filter(|name| caller.sees_endpoint(name));
    let found = visible.and_then(|name| directory.endpoint(&caller.namespace, name)).ok_or_else(|| {
        let known = directory.endpoints(&caller.namespace).into_iter().map(|endpoint| endpoint.name);
        let known = known.filter(|name| caller.sees_endpoint(name)).take(NAMES_SHOWN).collect();
        SubmitError::UnknownEndpoint { name: shown(name), known }
    })?;
    if found.service == Service::InService {
        return Ok(found);
    }
    let EndpointView { name, condition, last_failure, .. } = found;
    Err(SubmitError::NotReady { name, reason: condition.reason, message: condition.message, last_failure })
}

fn unreadable_hash(model: &ModelView) -> SubmitError {
    let (reason, message) = ("NoChecksum".into(), "its status holds no SHA-256".into());
    SubmitError::Models(vec![UnusableModel {
        model_type: CHECKPOINT,
        name: model.display_name.clone(),
        why: WhyUnusable::NotReady { reason, message },
    }])
}
