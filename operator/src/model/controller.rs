//! What leads to a look at a Model: itself, its ServiceAccount and Jobs, their pods, and the Endpoints that
//! list it or did.

use std::sync::Arc;

use easel_crds::{Endpoint, Model};
use futures::StreamExt;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;

use super::reconcile;
use crate::context::Ctx;
use crate::controller::{Scope, after_error, children_of, guarded, labelled_owner, log_result};
use crate::labels::Component;

/// Runs until the scope is stopped and the last look has ended.
pub async fn controller(ctx: Arc<Ctx>, scope: Scope) {
    let client = ctx.client.clone();
    let children = || children_of(Component::Import);
    let controller = scope.controller::<Model>(&client);
    let store = controller.store();
    controller
        .owns(scope.api::<ServiceAccount>(&client), children())
        .owns(scope.api::<Job>(&client), children())
        // Pods belong to a Job; their label names the Model.
        .watches(scope.api::<Pod>(&client), children(), |pod| model_of(&pod))
        .watches(scope.api::<Endpoint>(&client), watcher::Config::default(), move |endpoint| {
            used_by(&store, &endpoint)
        })
        .run(|model, ctx| guarded(model.clone(), ctx.clone(), reconcile(model, ctx)), after_error, ctx)
        .for_each(log_result)
        .await;
}

fn model_of(pod: &Pod) -> Option<ObjectRef<Model>> {
    let (name, namespace) = labelled_owner(pod, Component::Import)?;
    Some(ObjectRef::new(&name).within(&namespace))
}

/// The Models whose `usedBy` this Endpoint changes: an Endpoint that no longer lists a Model is only
/// remembered by the Model's status.
fn used_by(store: &Store<Model>, endpoint: &Endpoint) -> Vec<ObjectRef<Model>> {
    let (name, namespace) = (endpoint.name_any(), endpoint.namespace());
    let concerned = |model: &Model| {
        let listed = endpoint.spec.models.iter().any(|listed| listed.name == model.name_any())
            && endpoint.metadata.deletion_timestamp.is_none();
        let told = model.status.iter().flat_map(|status| &status.used_by).any(|user| user.name == name);
        // An Endpoint's status changes far more often than its list.
        model.namespace() == namespace && listed != told
    };
    store.state_filter(concerned).iter().map(|model| ObjectRef::from_obj(&**model)).collect()
}
