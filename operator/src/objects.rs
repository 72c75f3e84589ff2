//! Reading the object of a reconcile, and writing its status.

use std::fmt::Debug;

use easel_crds::LastFailure;
use easel_crds::common::Time;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::error::Error;
use crate::labels::FIELD_MANAGER;
use crate::pods::PodFailure;

/// The object as the API server has it now: what triggered a reconcile may be old. `None`: it is gone.
///
/// # Errors
/// [`Error::Read`].
pub async fn fresh<K>(client: &Client, trigger: &K) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let namespace = trigger.namespace().ok_or(Error::Unstored)?;
    let name = trigger.name_any();
    let answer = Api::<K>::namespaced(client.clone(), &namespace).get_opt(&name).await;
    answer.map_err(|source| Error::Read { what: format!("{} {name}", K::kind(&())), source: source.into() })
}

/// Applies our fields of the status; those of other field managers stay. The UID keeps the status of one
/// object from reaching another of the same name.
///
/// # Errors
/// [`Error::Status`].
pub async fn write_status<K, S>(client: &Client, object: &K, status: &S) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    S: Serialize,
{
    let name = object.name_any();
    let namespace = object.namespace().ok_or(Error::Unstored)?;
    let api = Api::<K>::namespaced(client.clone(), &namespace);
    let patch = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "namespace": namespace, "uid": object.uid()},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(&name, &params, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(()),
        // Deleted meanwhile: there is nobody left to tell.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(Error::Status { what: format!("{} {name}", K::kind(&())), source: source.into() }),
    }
}

/// A failure as the status holds it. The same failure keeps the time at which it was first seen, unless
/// the pod tells a time itself.
pub fn last_failure(old: Option<&LastFailure>, found: &PodFailure, now: Timestamp) -> LastFailure {
    let pod = Some(found.pod.clone()).filter(|pod| !pod.is_empty());
    let before =
        old.filter(|old| old.reason == found.reason && old.pod == pod && old.message == found.message);
    let seen = found.time.or_else(|| before.map(|old| old.time.0)).unwrap_or(now);
    LastFailure {
        reason: found.reason.clone(),
        message: found.message.clone(),
        retriable: found.retriable,
        // Whole seconds, as the API server stores them.
        time: Time(Timestamp::from_second(seen.as_second()).unwrap_or(seen)),
        pod,
        exit_code: found.exit_code,
    }
}

/// An error of a reconcile as a failure.
pub fn failure_of(error: &Error) -> PodFailure {
    PodFailure {
        reason: error.reason().to_owned(),
        message: error.message(),
        retriable: error.retriable(),
        time: None,
        pod: String::new(),
        exit_code: None,
    }
}
