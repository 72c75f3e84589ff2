//! What leads to a look at a Dataset: itself, its children, their pods, and the TrainingJobs that use it or did.

use std::sync::Arc;

use easel_crds::{Dataset, TrainingJob};
use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;

use super::reconcile;
use super::users::uses;
use crate::context::Ctx;
use crate::controller::{Scope, after_error, children_of, guarded, labelled_owner, log_result};
use crate::labels::Component;

/// Runs until the scope is stopped and the last look has ended.
pub async fn controller(ctx: Arc<Ctx>, scope: Scope) {
    let client = ctx.client.clone();
    let children = || children_of(Component::Dataset);
    let controller = scope.controller::<Dataset>(&client);
    let store = controller.store();
    controller
        .owns(scope.api::<ServiceAccount>(&client), children())
        .owns(scope.api::<NetworkPolicy>(&client), children())
        .owns(scope.api::<Job>(&client), children())
        // Pods belong to a Job; their label names the Dataset.
        .watches(scope.api::<Pod>(&client), children(), |pod| dataset_of(&pod))
        .watches(scope.api::<TrainingJob>(&client), watcher::Config::default(), move |training| {
            used_by(&store, &training)
        })
        .run(|dataset, ctx| guarded(dataset.clone(), ctx.clone(), reconcile(dataset, ctx)), after_error, ctx)
        .for_each(log_result)
        .await;
}

fn dataset_of(pod: &Pod) -> Option<ObjectRef<Dataset>> {
    let (name, namespace) = labelled_owner(pod, Component::Dataset)?;
    Some(ObjectRef::new(&name).within(&namespace))
}

/// The Datasets whose `usedBy` this TrainingJob changes: its steps change far more often than what it uses.
fn used_by(store: &Store<Dataset>, training: &TrainingJob) -> Vec<ObjectRef<Dataset>> {
    let (name, namespace) = (training.name_any(), training.namespace());
    let concerned = |dataset: &Dataset| {
        let told = dataset.status.iter().flat_map(|status| &status.used_by).any(|user| user.name == name);
        dataset.namespace() == namespace && uses(training, &dataset.name_any()) != told
    };
    store.state_filter(concerned).iter().map(|dataset| ObjectRef::from_obj(&**dataset)).collect()
}
