//! Writes children: applies what differs, deletes what is no longer wanted, never touches another's.
//!
//! An object is left alone when its fingerprint annotation names the desired version *and* each desired
//! field is live as we want it, so drift is healed and an idle object costs no write, also right after a
//! start. A webhook that rewrites our fields would make the two differ for ever; the [`ApplyCache`]
//! remembers what our last apply led to, and only a change after that leads to another one.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Owner, Ownership, fingerprint, is_within};
use crate::error::Error;
use crate::labels::{APPLIED_HASH, FIELD_MANAGER};

/// Past this many entries the cache starts over, which costs one write that changes nothing per entry.
const CACHE_LIMIT: usize = 50_000;

/// Kinds that can be children.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Serialize
{
}

impl<K> Child for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
{
}

/// By UID: the resourceVersion that our last apply led to, and the fingerprint that was applied.
#[derive(Debug, Default)]
pub struct ApplyCache(Mutex<HashMap<String, (String, String)>>);

impl ApplyCache {
    fn is_settled<K: Resource>(&self, live: &K, hash: &str) -> bool {
        let (Some(uid), Some(version)) = (live.uid(), live.resource_version()) else { return false };
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cache.get(&uid).is_some_and(|(v, h)| *v == version && h == hash)
    }

    fn remember<K: Resource>(&self, applied: &K, hash: String) {
        let (Some(uid), Some(version)) = (applied.uid(), applied.resource_version()) else { return };
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_LIMIT {
            cache.clear();
        }
        cache.insert(uid, (version, hash));
    }

    fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// The live objects of one kind that carry an owner's labels.
#[derive(Clone, Debug)]
pub struct Children<K> {
    pub live: Vec<K>,
}

impl<K: Child> Children<K> {
    /// Those that this owner controls.
    pub fn ours<'a>(&'a self, owner: &'a Owner) -> impl Iterator<Item = &'a K> {
        self.live.iter().filter(|child| owner.relation(child.meta()) == Ownership::Ours)
    }
}

/// Reads the children of one kind.
///
/// # Errors
/// [`Error::Read`].
pub async fn list<K: Child>(client: &Client, owner: &Owner) -> Result<Children<K>, Error> {
    let api = Api::<K>::namespaced(client.clone(), &owner.namespace);
    let params = ListParams::default().labels(&owner.component.selector_text(&owner.name));
    let answer = api.list(&params).await;
    let live =
        answer.map_err(|source| Error::Read { what: K::plural(&()).into_owned(), source: source.into() })?;
    Ok(Children { live: live.items })
}

/// Brings one child to its desired state, writing only if something differs. Answers the live object.
///
/// # Errors
/// [`Error::NameConflict`] and [`Error::OldChild`] when the name is taken; [`Error::Read`], [`Error::Apply`].
pub async fn apply<K: Child>(
    client: &Client,
    cache: &ApplyCache,
    owner: &Owner,
    children: &Children<K>,
    mut desired: K,
) -> Result<K, Error> {
    let name = desired.name_any();
    let hash = fingerprint(&desired);
    desired.annotations_mut().insert(APPLIED_HASH.to_owned(), hash.clone());
    let api = Api::<K>::namespaced(client.clone(), &owner.namespace);

    let listed = children.live.iter().find(|live| live.name_any() == name).cloned();
    let live = match listed {
        Some(live) => Some(live),
        // Not under our labels: it may still exist, and belong to somebody.
        None => api.get_opt(&name).await.map_err(|source| Error::Read {
            what: format!("{} {name}", K::kind(&())),
            source: source.into(),
        })?,
    };
    if let Some(live) = live {
        let kind = K::kind(&()).into_owned();
        match owner.relation(live.meta()) {
            Ownership::Ours => {}
            Ownership::Leaving => return Err(Error::OldChild { kind, name }),
            Ownership::Foreign => return Err(Error::NameConflict { kind, name }),
        }
        if is_applied(&desired, &live, &hash) || cache.is_settled(&live, &hash) {
            return Ok(live);
        }
        // Refused by the API server if the object was replaced since it was read.
        desired.meta_mut().uid = live.uid();
    }
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api
        .patch(&name, &params, &Patch::Apply(&desired))
        .await
        .map_err(|source| Error::Apply { what: format!("{} {name}", K::kind(&())), source: source.into() })?;
    tracing::info!(kind = %K::kind(&()), child = %name, namespace = %owner.namespace, "applied a child");
    cache.remember(&applied, hash);
    Ok(applied)
}

fn is_applied<K: Child>(desired: &K, live: &K, hash: &str) -> bool {
    let (Ok(wanted), Ok(found)) = (serde_json::to_value(desired), serde_json::to_value(live)) else {
        return false;
    };
    live.annotations().get(APPLIED_HASH).map(String::as_str) == Some(hash) && is_within(&wanted, &found)
}

/// Deletes the children of ours whose names are not in `keep`.
///
/// # Errors
/// [`Error::Delete`], also for a child that was replaced meanwhile: the next look sees what it is now. One
/// that is gone already is no error.
pub async fn prune<K: Child>(
    client: &Client,
    cache: &ApplyCache,
    owner: &Owner,
    children: &Children<K>,
    keep: &[&str],
) -> Result<(), Error> {
    let api = Api::<K>::namespaced(client.clone(), &owner.namespace);
    for child in children.ours(owner).filter(|child| !keep.contains(&child.name_any().as_str())) {
        let name = child.name_any();
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: child.uid(), resource_version: None }),
            propagation_policy: Some(PropagationPolicy::Background),
            ..Default::default()
        };
        match api.delete(&name, &params).await {
            Ok(_) => {
                tracing::info!(kind = %K::kind(&()), child = %name, namespace = %owner.namespace, "deleted a child");
            }
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => {
                let what = format!("{} {name}", K::kind(&()));
                return Err(Error::Delete { what, source: source.into() });
            }
        }
        if let Some(uid) = child.uid() {
            cache.forget(&uid);
        }
    }
    Ok(())
}
