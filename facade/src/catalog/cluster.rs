//! The calls to the API server, behind a trait that tests replace.

use std::collections::BTreeMap;

use easel_crds::common::UPLOAD_COMPLETED_ANNOTATION;
use easel_crds::endpoint::ServedModel;
use easel_crds::model::{self, ImportStatus};
use easel_crds::{Dataset, Endpoint, Model, TrainingJob};
use easel_protocol::import::ImportPhase;
use easel_protocol::worker::AUDIENCE;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::training_calls::TrainingCluster;

/// Field manager of what the facade writes.
pub(super) const MANAGER: &str = "easel-facade";
/// Field manager of `status.models` of Endpoints: a list that is applied whole, beside whatever else is written there.
const MODELS_MANAGER: &str = "easel-facade-models";
/// A Secret is used only if it says that it is meant for this (see `HttpSource`): who may name Secrets in a Model
/// need not be allowed to read them.
const USE_LABEL: &str = "easel.dev/use";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";

/// A call to the API server that failed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("cannot have a token reviewed")]
    Review { source: Box<kube::Error> },
    #[error("cannot mark the upload of Model {namespace}/{name} as complete")]
    MarkUpload { namespace: String, name: String, source: Box<kube::Error> },
    #[error("cannot write the import progress of Model {namespace}/{name}")]
    Progress { namespace: String, name: String, source: Box<kube::Error> },
    #[error("cannot write which models the workers of Endpoint {namespace}/{name} hold")]
    Served { namespace: String, name: String, source: Box<kube::Error> },
    #[error("cannot read the {kind}s of {place}")]
    ReadAll { kind: &'static str, place: String, source: Box<kube::Error> },
    #[error("cannot {what} {kind} {namespace}/{name}")]
    Object {
        what: &'static str,
        kind: &'static str,
        namespace: String,
        name: String,
        source: Box<kube::Error>,
    },
    #[error("{kind} {namespace}/{name} is refused: {message}")]
    Invalid { kind: &'static str, namespace: String, name: String, message: String },
    #[error("{kind} {namespace}/{name} was changed or made by somebody else meanwhile")]
    Conflict { kind: &'static str, namespace: String, name: String },
    #[error("cannot read Secret {namespace}/{name}")]
    ReadSecret { namespace: String, name: String, source: Box<kube::Error> },
    #[error(
        "the facade may not read Secret {namespace}/{name}; install the chart with import.sourceSecrets=true"
    )]
    SecretsDenied { namespace: String, name: String },
}

/// What a Secret is for, by its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretUse {
    /// Each entry is a header.
    HttpHeaders,
    /// `accessKeyId` and `secretAccessKey`.
    S3Credentials,
    /// An entry is a token.
    AccessToken,
}

impl SecretUse {
    /// Value of the label `easel.dev/use`.
    pub fn label(self) -> &'static str {
        match self {
            Self::HttpHeaders => "http-headers",
            Self::S3Credentials => "s3-credentials",
            Self::AccessToken => "access-token",
        }
    }
}

/// Whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// E.g. `system:serviceaccount:team:easel-endpoint-demo`.
    pub user: String,
    /// The pod that the token was made for.
    pub pod: Option<String>,
}

/// How far an import is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub phase: Option<ImportPhase>,
    pub bytes_done: u64,
    pub bytes_total: Option<u64>,
    pub bytes_per_second: u64,
}

impl Transfer {
    /// Seconds until the end at this rate, once total and rate are known.
    pub fn eta_seconds(&self) -> Option<u64> {
        let left = self.bytes_total?.saturating_sub(self.bytes_done);
        left.checked_add(self.bytes_per_second.checked_sub(1)?)?.checked_div(self.bytes_per_second)
    }
}

/// Entries of a Secret, decoded.
pub type SecretData = BTreeMap<String, Vec<u8>>;

/// Who is who.
pub trait TokenReviewer: Send + Sync + 'static {
    /// Whose token this is; `None` when it is not valid for the audience [`AUDIENCE`].
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Reviewed>, ClusterError>>;
}

/// What the facade asks of the API server.
pub trait Cluster: TokenReviewer + TrainingCluster {
    /// Tells the operator that every file of the Model's upload is there. `false`: there is no such Model.
    fn mark_uploaded<'a>(
        &'a self,
        namespace: &'a str,
        model: &'a str,
        at: Timestamp,
    ) -> BoxFuture<'a, Result<bool, ClusterError>>;

    /// Writes the progress of the Model's import.
    fn report_import<'a>(
        &'a self,
        namespace: &'a str,
        model: &'a str,
        transfer: Transfer,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Writes which models the workers of an Endpoint hold; of that Endpoint, not of another one of its name.
    fn report_models<'a>(
        &'a self,
        namespace: &'a str,
        endpoint: &'a str,
        uid: &'a str,
        models: &'a [ServedModel],
    ) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Shows every Model of these namespaces, or of all if none is named, as the API server has it now: not
    /// from a watch, which may lag. A few at a time, so that many Models do not need much memory.
    fn each_model<'a>(
        &'a self,
        namespaces: &'a [String],
        show: &'a mut (dyn FnMut(&Model) + Send),
    ) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// The data of a Secret that is labelled for this use; `None` if there is no such one.
    fn secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        purpose: SecretUse,
    ) -> BoxFuture<'a, Result<Option<SecretData>, ClusterError>>;
}

/// Objects that are read at once.
const OBJECTS_PER_PAGE: u32 = 250;

async fn each_page<K: Clone + DeserializeOwned + std::fmt::Debug>(
    api: &Api<K>,
    kind: &'static str,
    place: &str,
    show: &mut (dyn FnMut(&K) + Send),
) -> Result<(), ClusterError> {
    let mut params = ListParams::default().limit(OBJECTS_PER_PAGE);
    loop {
        let page = api.list(&params).await.map_err(|source| ClusterError::ReadAll {
            kind,
            place: place.to_owned(),
            source: Box::new(source),
        })?;
        page.items.iter().for_each(&mut *show);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// The real one.
#[derive(Clone)]
pub struct KubeCluster {
    client: Client,
}

impl KubeCluster {
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The objects of a kind in a namespace.
    pub(super) fn of<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Shows every object of a kind; see [`Cluster::each_model`].
    pub(super) async fn each<K>(
        &self,
        namespaces: &[String],
        show: &mut (dyn FnMut(&K) + Send),
    ) -> Result<(), ClusterError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug
            + Named,
    {
        if namespaces.is_empty() {
            return each_page(&Api::all(self.client.clone()), K::KIND, "all namespaces", show).await;
        }
        for namespace in namespaces {
            each_page(&self.of(namespace), K::KIND, &format!("namespace {namespace}"), show).await?;
        }
        Ok(())
    }
}

/// The name of a kind, for messages.
pub(super) trait Named {
    const KIND: &'static str;
}

impl Named for Model {
    const KIND: &'static str = "Model";
}

impl Named for TrainingJob {
    const KIND: &'static str = "TrainingJob";
}

impl Named for Dataset {
    const KIND: &'static str = "Dataset";
}

impl TokenReviewer for KubeCluster {
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Reviewed>, ClusterError>> {
        Box::pin(async move {
            let spec = TokenReviewSpec { token: Some(token.into()), audiences: Some(vec![AUDIENCE.into()]) };
            let review = TokenReview { spec, ..TokenReview::default() };
            let api: Api<TokenReview> = Api::all(self.client.clone());
            let answer = api
                .create(&PostParams::default(), &review)
                .await
                .map_err(|source| ClusterError::Review { source: Box::new(source) })?;
            let status = answer.status.unwrap_or_default();
            // An API server that knows no audiences leaves them out: such a token is good for anything.
            let ours = status.audiences.is_some_and(|audiences| audiences.iter().any(|a| a == AUDIENCE));
            let valid = status.authenticated.unwrap_or(false) && ours;
            Ok(status.user.filter(|_| valid).and_then(reviewed))
        })
    }
}

impl Cluster for KubeCluster {
    fn mark_uploaded<'a>(
        &'a self,
        namespace: &'a str,
        model: &'a str,
        at: Timestamp,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        Box::pin(async move {
            let patch = json!({"metadata": {"annotations": {UPLOAD_COMPLETED_ANNOTATION: at.to_string()}}});
            let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
            let patched =
                self.of::<Model>(namespace).patch_metadata(model, &params, &Patch::Merge(patch)).await;
            match patched {
                Ok(_) => Ok(true),
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
                Err(source) => Err(ClusterError::MarkUpload {
                    namespace: namespace.into(),
                    name: model.into(),
                    source: Box::new(source),
                }),
            }
        })
    }

    fn report_import<'a>(
        &'a self,
        namespace: &'a str,
        model: &'a str,
        transfer: Transfer,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let import = ImportStatus {
                phase: transfer.phase.map(phase),
                bytes_done: Some(transfer.bytes_done),
                bytes_total: transfer.bytes_total,
                bytes_per_second: Some(transfer.bytes_per_second),
                eta_seconds: transfer.eta_seconds(),
                ..ImportStatus::default()
            };
            let patch = json!({
                "apiVersion": "easel.dev/v1alpha1", "kind": "Model", "status": {"import": import},
            });
            let params = PatchParams::apply(MANAGER).force();
            let patched =
                self.of::<Model>(namespace).patch_status(model, &params, &Patch::Apply(patch)).await;
            patched.map(drop).map_err(|source| ClusterError::Progress {
                namespace: namespace.into(),
                name: model.into(),
                source: Box::new(source),
            })
        })
    }

    fn report_models<'a>(
        &'a self,
        namespace: &'a str,
        endpoint: &'a str,
        uid: &'a str,
        models: &'a [ServedModel],
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let patch = json!({
                "apiVersion": "easel.dev/v1alpha1", "kind": "Endpoint",
                "metadata": {"name": endpoint, "namespace": namespace, "uid": uid},
                "status": {"models": models},
            });
            let api: Api<Endpoint> = Api::namespaced(self.client.clone(), namespace);
            let params = PatchParams::apply(MODELS_MANAGER).force();
            match api.patch_status(endpoint, &params, &Patch::Apply(patch)).await {
                Ok(_) => Ok(()),
                // Deleted meanwhile, or made anew: nobody is left to tell.
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
                Err(source) => Err(ClusterError::Served {
                    namespace: namespace.into(),
                    name: endpoint.into(),
                    source: Box::new(source),
                }),
            }
        })
    }

    fn each_model<'a>(
        &'a self,
        namespaces: &'a [String],
        show: &'a mut (dyn FnMut(&Model) + Send),
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.each(namespaces, show))
    }

    fn secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        purpose: SecretUse,
    ) -> BoxFuture<'a, Result<Option<SecretData>, ClusterError>> {
        Box::pin(async move {
            let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
            let secret = api.get_opt(name).await.map_err(|error| {
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                match error {
                    kube::Error::Api(status) if status.is_forbidden() => {
                        ClusterError::SecretsDenied { namespace, name }
                    }
                    other => ClusterError::ReadSecret { namespace, name, source: Box::new(other) },
                }
            })?;
            let meant = |secret: &Secret| {
                secret.labels().get(USE_LABEL).is_some_and(|label| label == purpose.label())
            };
            let data = secret.filter(meant).map(|secret| secret.data.unwrap_or_default());
            Ok(data.map(|data| data.into_iter().map(|(name, value)| (name, value.0)).collect()))
        })
    }
}

/// As the Model's status says it.
fn phase(phase: ImportPhase) -> model::ImportPhase {
    match phase {
        ImportPhase::Fetching => model::ImportPhase::Fetching,
        ImportPhase::Unpacking => model::ImportPhase::Unpacking,
        ImportPhase::Converting => model::ImportPhase::Converting,
        ImportPhase::Merging => model::ImportPhase::Merging,
        ImportPhase::Checking => model::ImportPhase::Checking,
        ImportPhase::Storing => model::ImportPhase::Storing,
    }
}

fn reviewed(user: UserInfo) -> Option<Reviewed> {
    let pod = user.extra.unwrap_or_default().get(POD_NAME).and_then(|names| names.first().cloned());
    Some(Reviewed { user: user.username?, pod })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_known_once_total_and_rate_are() {
        let transfer = |bytes_done, bytes_total, bytes_per_second| {
            Transfer { phase: None, bytes_done, bytes_total, bytes_per_second }.eta_seconds()
        };
        assert_eq!(transfer(0, Some(100), 30), Some(4));
        assert_eq!(transfer(100, Some(100), 30), Some(0));
        assert_eq!(transfer(120, Some(100), 30), Some(0));
        assert_eq!(transfer(0, Some(100), 0), None);
        assert_eq!(transfer(0, None, 30), None);
        assert_eq!(transfer(0, Some(u64::MAX), 2), None);
    }
}
