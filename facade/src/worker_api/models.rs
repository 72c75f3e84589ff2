//! `GET /worker/v1/models`: which models the workers of an endpoint are to hold.

use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use easel_protocol::worker::{ModelFile, ModelSet, PendingModel};
use easel_protocol::{NetworkFile, NetworkKind};
use easel_store::objects::{Audience, ObjectKey, ResponseHeaders};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use super::error::WorkerError;
use super::identity::Worker;
use crate::app::App;
use crate::catalog::{EndpointView, FileView};

/// A long poll ends so late if nothing changes.
const WAIT: Duration = Duration::from_secs(20);
/// A large checkpoint over a slow link takes long, and the worker resumes with the same URL.
pub(super) const URL_LIFE: Duration = Duration::from_secs(6 * 3600);

/// Type of the Models that are loaded by themselves.
const CHECKPOINT: &str = "Checkpoint";

#[derive(Debug, Default, Deserialize)]
pub struct Known {
    #[serde(default)]
    known: String,
}

/// Answers at once when the set is not the one that the worker knows.
pub(super) async fn model_set(
    worker: Worker,
    State(app): State<App>,
    Query(Known { known }): Query<Known>,
) -> Result<Json<ModelSet>, WorkerError> {
    let deadline = Instant::now() + WAIT;
    let mut changes = app.directory.changes();
    loop {
        changes.borrow_and_update();
        let chosen = choose(&app, &worker)?;
        if chosen.version != known || Instant::now() >= deadline || app.shutdown.is_cancelled() {
            return Ok(Json(chosen.sign(&app).await?));
        }
        tokio::select! {
            changed = timeout_at(deadline, changes.changed()) => {
                // Without watches nothing changes any more, and the process is about to end.
                if matches!(changed, Ok(Err(_))) {
                    app.shutdown.cancelled().await;
                }
            }
            () = app.shutdown.cancelled() => {}
        }
    }
}

/// A [`ModelSet`] without its URLs.
struct Chosen {
    version: String,
    /// Files of checkpoints.
    ready: Vec<(String, FileView)>,
    /// The one file of each Model that requests can use besides.
    networks: Vec<(NetworkKind, String, FileView)>,
    pending: Vec<PendingModel>,
}

fn choose(app: &App, worker: &Worker) -> Result<Chosen, WorkerError> {
    if !app.directory.objects_known() {
        return Err(WorkerError::NotSynced);
    }
    let Worker { namespace, endpoint, .. } = worker;
    let endpoint: EndpointView = app.directory.endpoint(namespace, endpoint).ok_or_else(|| {
        WorkerError::NotKnown { kind: "Endpoint", namespace: namespace.clone(), name: endpoint.clone() }
    })?;
    let (mut ready, mut networks, mut pending) = (Vec::new(), Vec::new(), Vec::new());
    for name in endpoint.models {
        match app.directory.model(namespace, &name) {
            Some(model) if model.ready.holds && !model.files.is_empty() => {
                match (NetworkKind::of_model_type(&model.model_type), model.weights()) {
                    (Some(kind), Some(file)) => networks.push((kind, name, file.clone())),
                    // Of other types nothing can be made by itself: jobs bring them along.
                    _ if model.model_type != CHECKPOINT => {}
                    _ => ready.extend(model.files.into_iter().map(|file| (name.clone(), file))),
                }
            }
            Some(model) => pending.push(PendingModel { model: name, reason: model.ready.reason }),
            None => pending.push(PendingModel { model: name, reason: "NotFound".into() }),
        }
    }
    let files = ready.iter().map(|(name, file)| (name, file));
    let files = files.chain(networks.iter().map(|(_, name, file)| (name, file)));
    Ok(Chosen { version: version(files, &pending), ready, networks, pending })
}

/// Changes when a model comes, goes, gets other bytes or becomes ready; not with the order or the URLs.
fn version<'a>(ready: impl Iterator<Item = (&'a String, &'a FileView)>, pending: &[PendingModel]) -> String {
    let mut lines: Vec<String> = ready.map(|(model, file)| format!("{model} {}\n", file.sha256)).collect();
    lines.extend(pending.iter().map(|pending| format!("{} pending\n", pending.model)));
    lines.sort();
    let mut hasher = Sha256::new();
    for line in &lines {
        hasher.update(line);
    }
    hex::encode(hasher.finalize())
}

impl Chosen {
    async fn sign(self, app: &App) -> Result<ModelSet, WorkerError> {
        let mut models = Vec::with_capacity(self.ready.len());
        for (model, file) in self.ready {
            models.push(sign_file(app, model, &file).await?);
        }
        let mut networks = Vec::with_capacity(self.networks.len());
        for (kind, model, file) in self.networks {
            let file = sign_file(app, model.clone(), &file).await?;
            networks.push(NetworkFile { kind, name: model, file });
        }
        Ok(ModelSet { version: self.version, models, networks, pending: self.pending })
    }
}

/// A weight file with a URL for a pod.
pub(super) async fn sign_file(app: &App, model: String, file: &FileView) -> Result<ModelFile, WorkerError> {
    let key: ObjectKey = file.key.parse().map_err(|_| {
        WorkerError::Input(format!("Model {model} names an object key that is none: {:?}", file.key))
    })?;
    let url = app.objects.presign_get(&key, &Audience::Worker, URL_LIFE, &ResponseHeaders::default()).await?;
    Ok(ModelFile {
        model,
        file_name: file.name.clone(),
        sha256: file.sha256.clone(),
        size_bytes: file.size_bytes,
        url: url.into_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_follows_the_set_and_nothing_else() {
        let file = |sha: &str, key: &str| FileView {
            name: "f".into(),
            key: key.into(),
            sha256: sha.into(),
            size_bytes: 1,
        };
        let waits = |model: &str, reason: &str| PendingModel { model: model.into(), reason: reason.into() };
        let (a, b) = (("a".to_owned(), file("1", "k")), ("b".to_owned(), file("2", "k")));
        let version = |ready: &[(String, FileView)], pending: &[PendingModel]| {
            version(ready.iter().map(|(name, file)| (name, file)), pending)
        };
        let base = version(&[a.clone(), b.clone()], &[]);
        assert_eq!(base, version(&[b.clone(), ("a".into(), file("1", "other"))], &[]), "order and place");
        assert_ne!(base, version(std::slice::from_ref(&a), &[]), "one less");
        assert_ne!(base, version(&[a.clone(), ("b".into(), file("3", "k"))], &[]), "other bytes");
        let half = version(std::slice::from_ref(&a), &[waits("b", "Importing")]);
        assert_ne!(base, half, "one became ready");
        assert_eq!(half, version(&[a], &[waits("b", "WaitingForUpload")]), "another reason");
    }
}
