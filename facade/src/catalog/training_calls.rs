//! The calls to the API server about TrainingJobs and Datasets, behind a trait that tests replace.

use easel_crds::training_job::TrainingJobStatus;
use easel_crds::{Dataset, TrainingJob};
use futures::future::BoxFuture;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cluster::{ClusterError, KubeCluster, MANAGER, Named};

/// The parts of a TrainingJob's status that the facade writes, each with fields and a field manager of its own: an
/// apply removes what its manager does not name any more, and the parts are written by calls that do not know of
/// one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusPart {
    /// `stage`, `stageDone`, `stageTotal`, `step`, `totalSteps`, `epoch`, `loss`, `milliSecondsPerStep`, `etaSeconds`.
    Progress,
    /// `checkpoint`, `losses`.
    Checkpoint,
    /// `samples`.
    Samples,
}

impl StatusPart {
    fn manager(self) -> &'static str {
        match self {
            Self::Progress => MANAGER,
            Self::Checkpoint => "easel-facade-checkpoint",
            Self::Samples => "easel-facade-samples",
        }
    }
}

/// What the facade asks of the API server about training.
pub trait TrainingCluster: Send + Sync + 'static {
    /// Makes a TrainingJob; answers with it as it was stored.
    ///
    /// # Errors
    /// [`ClusterError::Invalid`] when a rule of the kind refuses it, [`ClusterError::Conflict`] when there is one.
    fn create_training<'a>(
        &'a self,
        job: &'a TrainingJob,
    ) -> BoxFuture<'a, Result<TrainingJob, ClusterError>>;

    /// Merges a patch into a TrainingJob. `false`: there is no such one.
    ///
    /// # Errors
    /// As [`TrainingCluster::create_training`]'s.
    fn patch_training<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> BoxFuture<'a, Result<bool, ClusterError>>;

    /// Writes one part of a TrainingJob's status; `status` sets fields of that part only.
    fn report_training<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        part: StatusPart,
        status: &'a TrainingJobStatus,
    ) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Shows every TrainingJob; see [`super::Cluster::each_model`].
    fn each_training<'a>(
        &'a self,
        namespaces: &'a [String],
        show: &'a mut (dyn FnMut(&TrainingJob) + Send),
    ) -> BoxFuture<'a, Result<(), ClusterError>>;

    /// Makes a Dataset; answers with it as it was stored.
    ///
    /// # Errors
    /// As [`TrainingCluster::create_training`]'s.
    fn create_dataset<'a>(&'a self, dataset: &'a Dataset) -> BoxFuture<'a, Result<Dataset, ClusterError>>;

    /// A Dataset as the API server has it now.
    fn dataset<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Dataset>, ClusterError>>;

    /// Merges a patch into a Dataset. With `metadata.resourceVersion` in it, only into that version.
    ///
    /// # Errors
    /// As [`TrainingCluster::create_training`]'s.
    fn patch_dataset<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> BoxFuture<'a, Result<bool, ClusterError>>;

    /// Shows every Dataset; see [`super::Cluster::each_model`].
    fn each_dataset<'a>(
        &'a self,
        namespaces: &'a [String],
        show: &'a mut (dyn FnMut(&Dataset) + Send),
    ) -> BoxFuture<'a, Result<(), ClusterError>>;
}

/// A failed call in this crate's words: what a caller can mend apart from what he cannot.
fn refused(
    what: &'static str,
    kind: &'static str,
    namespace: &str,
    name: &str,
    error: kube::Error,
) -> ClusterError {
    let (namespace, name) = (namespace.to_owned(), name.to_owned());
    match error {
        kube::Error::Api(status) if status.code == 422 || status.code == 400 => {
            ClusterError::Invalid { kind, namespace, name, message: status.message.clone() }
        }
        kube::Error::Api(status) if status.code == 409 => ClusterError::Conflict { kind, namespace, name },
        other => ClusterError::Object { what, kind, namespace, name, source: Box::new(other) },
    }
}

impl KubeCluster {
    async fn create<K>(&self, object: &K) -> Result<K, ClusterError>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned
            + Named,
    {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let params = PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() };
        let created = self.of::<K>(&namespace).create(&params, object).await;
        created.map_err(|error| refused("create", K::KIND, &namespace, &name, error))
    }

    async fn merge<K>(&self, namespace: &str, name: &str, patch: &Value) -> Result<bool, ClusterError>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Named,
    {
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        match self.of::<K>(namespace).patch(name, &params, &Patch::Merge(patch)).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
            Err(error) => Err(refused("change", K::KIND, namespace, name, error)),
        }
    }
}

impl TrainingCluster for KubeCluster {
    fn create_training<'a>(
        &'a self,
        job: &'a TrainingJob,
    ) -> BoxFuture<'a, Result<TrainingJob, ClusterError>> {
        Box::pin(self.create(job))
    }

    fn patch_training<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        Box::pin(self.merge::<TrainingJob>(namespace, name, patch))
    }

    fn report_training<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        part: StatusPart,
        status: &'a TrainingJobStatus,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(async move {
            let patch = json!({
                "apiVersion": "easel.dev/v1alpha1", "kind": TrainingJob::KIND, "status": status,
            });
            let params = PatchParams::apply(part.manager()).force();
            let api = self.of::<TrainingJob>(namespace);
            let patched = api.patch_status(name, &params, &Patch::Apply(patch)).await;
            patched
                .map(drop)
                .map_err(|error| refused("write the status of", TrainingJob::KIND, namespace, name, error))
        })
    }

    fn each_training<'a>(
        &'a self,
        namespaces: &'a [String],
        show: &'a mut (dyn FnMut(&TrainingJob) + Send),
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.each(namespaces, show))
    }

    fn create_dataset<'a>(&'a self, dataset: &'a Dataset) -> BoxFuture<'a, Result<Dataset, ClusterError>> {
        Box::pin(self.create(dataset))
    }

    fn dataset<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Dataset>, ClusterError>> {
        Box::pin(async move {
            let found = self.of::<Dataset>(namespace).get_opt(name).await;
            found.map_err(|error| refused("read", Dataset::KIND, namespace, name, error))
        })
    }

    fn patch_dataset<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        patch: &'a Value,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        Box::pin(self.merge::<Dataset>(namespace, name, patch))
    }

    fn each_dataset<'a>(
        &'a self,
        namespaces: &'a [String],
        show: &'a mut (dyn FnMut(&Dataset) + Send),
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        Box::pin(self.each(namespaces, show))
    }
}
