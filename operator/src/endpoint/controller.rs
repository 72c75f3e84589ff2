//! What leads to a look at an Endpoint: itself, its children, their pods, and the Models that it lists.

use std::sync::Arc;

use easel_crds::{Endpoint, Model};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
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
    let children = || children_of(Component::Endpoint);
    let controller = scope.controller::<Endpoint>(&client);
    let store = controller.store();
    controller
        .owns(scope.api::<ServiceAccount>(&client), children())
        .owns(scope.api::<NetworkPolicy>(&client), children())
        .owns(scope.api::<Service>(&client), children())
        .owns(scope.api::<PodDisruptionBudget>(&client), children())
        .owns(scope.api::<Deployment>(&client), children())
        // Pods belong to a ReplicaSet; their label names the Endpoint.
        .watches(scope.api::<Pod>(&client), children(), |pod| endpoint_of(&pod))
        .watches(scope.api::<Model>(&client), watcher::Config::default(), move |model| {
            listing(&store, &model)
        })
        .run(
            |endpoint, ctx| guarded(endpoint.clone(), ctx.clone(), reconcile(endpoint, ctx)),
            after_error,
            ctx,
        )
        .for_each(log_result)
        .await;
}

fn endpoint_of(pod: &Pod) -> Option<ObjectRef<Endpoint>> {
    let (name, namespace) = labelled_owner(pod, Component::Endpoint)?;
    Some(ObjectRef::new(&name).within(&namespace))
}

/// The Endpoints that list a Model. One that the store does not have yet is looked at anyway.
fn listing(store: &Store<Endpoint>, model: &Model) -> Vec<ObjectRef<Endpoint>> {
    let (name, namespace) = (model.name_any(), model.namespace());
    let lists = |endpoint: &Endpoint| {
        endpoint.namespace() == namespace && endpoint.spec.models.iter().any(|listed| listed.name == name)
    };
    store.state_filter(lists).iter().map(|endpoint| ObjectRef::from_obj(&**endpoint)).collect()
}
