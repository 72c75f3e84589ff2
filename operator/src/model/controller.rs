//! What leads to a look at a Model: itself, its ServiceAccount and Jobs, their pods, and the Endpoints,
//! TrainingJobs and merges that use it or did, and the TrainingJob that makes it.

use std::sync::Arc;

use easel_crds::common::condition::FAILED;
use easel_crds::{Endpoint, Model, TrainingJob};
use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;

use super::reconcile;
use super::users::Uses;
use crate::conditions::is_true;
use crate::context::Ctx;
use crate::controller::{Scope, after_error, children_of, guarded, labelled_owner, log_result};
use crate::labels::Component;

/// Runs until the scope is stopped and the last look has ended.
pub async fn controller(ctx: Arc<Ctx>, scope: Scope) {
    let client = ctx.client.clone();
    let children = || children_of(Component::Import);
    let controller = scope.controller::<Model>(&client);
    let store = controller.store();
    ctx.models.add(scope.namespace.clone(), store.clone());
    let (of_trainings, of_merges) = (store.clone(), store.clone());
    controller
        .owns(scope.api::<ServiceAccount>(&client), children())
        .owns(scope.api::<Job>(&client), children())
        // Pods belong to a Job; their label names the Model.
        .watches(scope.api::<Pod>(&client), children(), |pod| model_of(&pod))
        .watches(scope.api::<Endpoint>(&client), watcher::Config::default(), move |endpoint| {
            used_by(&store, &endpoint)
        })
        .watches(scope.api::<TrainingJob>(&client), watcher::Config::default(), move |training| {
            let mut concerned = used_by(&of_trainings, &training);
            concerned.extend(made_by(&of_trainings, &training));
            concerned
        })
        .watches(scope.api::<Model>(&client), watcher::Config::default(), move |model| {
            let mut concerned = used_by(&of_merges, &model);
            concerned.extend(waiting_for(&of_merges, &model));
            concerned
        })
        .run(|model, ctx| guarded(model.clone(), ctx.clone(), reconcile(model, ctx)), after_error, ctx)
        .for_each(log_result)
        .await;
}

fn model_of(pod: &Pod) -> Option<ObjectRef<Model>> {
    let (name, namespace) = labelled_owner(pod, Component::Import)?;
    Some(ObjectRef::new(&name).within(&namespace))
}

/// The Models whose `usedBy` this object changes: one that no longer uses a Model is only remembered by the
/// Model's status.
fn used_by<K: Uses>(store: &Store<Model>, user: &K) -> Vec<ObjectRef<Model>> {
    let (kind, name, namespace) = (K::kind(&()), user.name_any(), user.namespace());
    let concerned = |model: &Model| {
        let mut users = model.status.iter().flat_map(|status| &status.used_by);
        let told = users.any(|told| told.kind == kind && told.name == name);
        // A status changes far more often than what is used. What is gone looks as it did last, with no word of its
        // end: a Model that waits to be deleted looks at each change of its users.
        let waits = told && model.metadata.deletion_timestamp.is_some();
        model.namespace() == namespace && (waits || user.uses(&model.name_any()) != told)
    };
    store.state_filter(concerned).iter().map(|model| ObjectRef::from_obj(&**model)).collect()
}

/// The Models that are to be the result of a TrainingJob which has come to an end: what a trainer reports on its way
/// concerns nobody here.
fn made_by(store: &Store<Model>, training: &TrainingJob) -> Vec<ObjectRef<Model>> {
    let (name, namespace) = (training.name_any(), training.namespace());
    let status = training.status.clone().unwrap_or_default();
    let (result, failed) = (status.result, is_true(&status.conditions, FAILED));
    let concerned = |model: &Model| {
        let source = model.spec.source.training_job.as_ref();
        let mut stored = model.status.iter().flat_map(|status| &status.files);
        let new = result.as_ref().is_some_and(|result| !stored.any(|file| file.sha256 == result.sha256));
        model.namespace() == namespace && source.is_some_and(|source| source.name == name) && (new || failed)
    };
    store.state_filter(concerned).iter().map(|model| ObjectRef::from_obj(&**model)).collect()
}

/// The merges that are not stored yet and read this Model: it may be what they wait for.
fn waiting_for(store: &Store<Model>, input: &Model) -> Vec<ObjectRef<Model>> {
    let (name, namespace) = (input.name_any(), input.namespace());
    let concerned = |model: &Model| model.namespace() == namespace && model.uses(&name);
    store.state_filter(concerned).iter().map(|model| ObjectRef::from_obj(&**model)).collect()
}
