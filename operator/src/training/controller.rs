//! What leads to a look at a TrainingJob: itself, its children, their pods, the Models that it starts from and ends in,
//! and its Datasets.

use std::sync::Arc;

use easel_crds::common::condition::COMPLETE;
use easel_crds::{Condition, Dataset, Model, TrainingJob};
use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use super::reconcile;
use crate::conditions::is_true;
use crate::context::Ctx;
use crate::controller::{Scope, after_error, children_of, guarded, labelled_owner, log_result};
use crate::labels::Component;

/// Runs until the scope is stopped and the last look has ended.
pub async fn controller(ctx: Arc<Ctx>, scope: Scope) {
    let client = ctx.client.clone();
    let children = || children_of(Component::Train);
    let controller = scope.controller::<TrainingJob>(&client);
    let (of_models, of_datasets) = (controller.store(), controller.store());
    controller
        .owns(scope.api::<ServiceAccount>(&client), children())
        .owns(scope.api::<NetworkPolicy>(&client), children())
        .owns(scope.api::<Job>(&client), children())
        // Pods belong to a Job; their label names the TrainingJob.
        .watches(scope.api::<Pod>(&client), children(), |pod| training_of(&pod))
        .watches(scope.api::<Model>(&client), watcher::Config::default(), move |model| {
            concerned(&of_models, &model, |training, name| {
                training.spec.base_model.name == name || training.spec.output.model_name == name
            })
        })
        .watches(scope.api::<Dataset>(&client), watcher::Config::default(), move |dataset| {
            concerned(&of_datasets, &dataset, names_dataset)
        })
        .run(
            |training, ctx| guarded(training.clone(), ctx.clone(), reconcile(training, ctx)),
            after_error,
            ctx,
        )
        .for_each(log_result)
        .await;
}

fn training_of(pod: &Pod) -> Option<ObjectRef<TrainingJob>> {
    let (name, namespace) = labelled_owner(pod, Component::Train)?;
    Some(ObjectRef::new(&name).within(&namespace))
}

/// The TrainingJobs that name an object and are not Complete.
fn concerned<K: Resource>(
    store: &Store<TrainingJob>,
    object: &K,
    names: impl Fn(&TrainingJob, &str) -> bool,
) -> Vec<ObjectRef<TrainingJob>> {
    let (name, namespace) = (object.name_any(), object.namespace());
    let waits = |training: &TrainingJob| {
        let conditions: &[Condition] = training.status.as_ref().map_or(&[], |status| &status.conditions);
        training.namespace() == namespace && names(training, &name) && !is_true(conditions, COMPLETE)
    };
    store.state_filter(waits).iter().map(|training| ObjectRef::from_obj(&**training)).collect()
}

/// Does a concept take pictures from the Dataset of that name?
fn names_dataset(training: &TrainingJob, name: &str) -> bool {
    let concepts = training.spec.concepts.iter();
    concepts
        .flat_map(|concept| [Some(&concept.dataset), concept.class_dataset.as_ref()])
        .flatten()
        .any(|set| set.name == name)
}
