//! Who uses a Model: the Endpoints that list it, the TrainingJobs that start from it and the merges that read
//! it, as long as they are not through. What is being deleted itself uses nothing any more: a namespace that
//! goes with all that is in it is held up by nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use easel_crds::common::{KindRef, condition};
use easel_crds::{Condition, Endpoint, Model, TrainingJob};
use kube::api::{Api, ListParams};
use kube::runtime::reflector::Store;
use kube::{Client, Resource, ResourceExt};

use crate::children::Owner;
use crate::conditions::{READY, find, is_true};
use crate::error::Error;

/// Something that may use Models of its namespace.
pub trait Uses: Resource<DynamicType = ()> {
    /// Does it need the bytes of the Model of that name, now or later?
    fn uses(&self, model: &str) -> bool;
}

impl Uses for Endpoint {
    fn uses(&self, model: &str) -> bool {
        !is_leaving(self) && self.spec.models.iter().any(|listed| listed.name == model)
    }
}

impl Uses for TrainingJob {
    fn uses(&self, model: &str) -> bool {
        let conditions: &[Condition] = self.status.as_ref().map_or(&[], |status| &status.conditions);
        let over = is_true(conditions, condition::COMPLETE) || is_true(conditions, condition::FAILED);
        !is_leaving(self) && !over && self.spec.base_model.name == model
    }
}

/// A merge reads its Models until the result is stored.
impl Uses for Model {
    fn uses(&self, model: &str) -> bool {
        let Some(merge) = &self.spec.source.merge else { return false };
        let conditions: &[Condition] = self.status.as_ref().map_or(&[], |status| &status.conditions);
        let stored = find(conditions, READY).is_some_and(|ready| {
            ready.status == "True" && ready.observed_generation == self.metadata.generation
        });
        !is_leaving(self) && !stored && merge.models.iter().chain(&merge.vae).any(|input| input.name == model)
    }
}

fn is_leaving<K: Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// The Models that the watches have seen, by namespace. Empty where no controller runs.
#[derive(Default)]
pub struct SeenModels(RwLock<BTreeMap<Option<String>, Store<Model>>>);

impl SeenModels {
    /// The watch of a namespace, or of all.
    pub fn add(&self, namespace: Option<String>, store: Store<Model>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(namespace, store);
    }

    fn of(&self, namespace: &str) -> Option<Vec<Arc<Model>>> {
        let stores = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let store = stores.get(&Some(namespace.to_owned())).or_else(|| stores.get(&None))?;
        let here = |model: &Model| model.metadata.namespace.as_deref() == Some(namespace);
        Some(store.state_filter(here))
    }
}

/// Everything that uses the Model, by kind and name. The merges are taken from what the watch has seen if
/// there is a watch: reading every Model for every Model would cost the square of their number. A merge
/// that was missed brings the Model up again by itself.
///
/// # Errors
/// [`Error::Read`].
pub async fn users(owner: &Owner, client: &Client, seen: &SeenModels) -> Result<Vec<KindRef>, Error> {
    let merges = async {
        match seen.of(&owner.namespace) {
            Some(models) => Ok(name_users(models.iter().map(|model| &**model), &owner.name)),
            None => read_users::<Model>(owner, client, "models").await,
        }
    };
    let (endpoints, merges, trainings) = tokio::try_join!(
        read_users::<Endpoint>(owner, client, "endpoints"),
        merges,
        read_users::<TrainingJob>(owner, client, "trainingjobs")
    )?;
    Ok([endpoints, merges, trainings].concat())
}

/// As [`users`], with nothing taken from memory: what is decided with it cannot be taken back.
///
/// # Errors
/// [`Error::Read`].
pub async fn users_now(owner: &Owner, client: &Client) -> Result<Vec<KindRef>, Error> {
    users(owner, client, &SeenModels::default()).await
}

async fn read_users<K>(owner: &Owner, client: &Client, plural: &str) -> Result<Vec<KindRef>, Error>
where
    K: Uses
        + Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api = Api::<K>::namespaced(client.clone(), &owner.namespace);
    let all = api.list(&ListParams::default()).await;
    let all = all.map_err(|source| Error::Read { what: plural.to_owned(), source: source.into() })?;
    Ok(name_users(all.items.iter(), &owner.name))
}

fn name_users<'a, K: Uses + 'a>(all: impl Iterator<Item = &'a K>, model: &str) -> Vec<KindRef> {
    let user = |object: &K| KindRef { kind: K::kind(&()).into_owned(), name: object.name_any() };
    let mut users: Vec<KindRef> = all.filter(|object| object.uses(model)).map(user).collect();
    users.sort_by(|a, b| a.name.cmp(&b.name));
    users
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object<K: serde::de::DeserializeOwned>(kind: &str, spec: Value, rest: Value) -> K {
        let mut object = json!({"apiVersion": "easel.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "o", "namespace": "tenant", "generation": 2}, "spec": spec});
        merge(&mut object, rest);
        serde_json::from_value(object).unwrap()
    }

    fn merge(target: &mut Value, new: Value) {
        match (target, new) {
            (Value::Object(target), Value::Object(new)) => {
                for (key, value) in new {
                    merge(target.entry(key).or_insert(Value::Null), value);
                }
            }
            (target, new) => *target = new,
        }
    }

    fn leaving() -> Value {
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    }

    fn stands(type_: &str, generation: i64) -> Value {
        json!({"status": {"conditions": [{"type": type_, "status": "True", "reason": "R", "message": "",
            "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}})
    }

    #[test]
    fn a_model_is_used_until_its_user_is_through_or_goes() {
        let endpoint = |rest| object::<Endpoint>("Endpoint", json!({"models": [{"name": "m"}]}), rest);
        let spec = json!({"method": "Lora", "baseModel": {"name": "m"}, "output": {"modelName": "out"},
            "concepts": [{"dataset": {"name": "d"}, "instancePrompt": "p"}],
            "hyperparameters": {"steps": 1, "resolution": 512}});
        let training = |rest| object::<TrainingJob>("TrainingJob", spec.clone(), rest);
        let source = json!({"merge": {"method": "WeightedSum", "models": [{"name": "m"}, {"name": "n"}]}});
        let merged = |rest| object::<Model>("Model", json!({"type": "Checkpoint", "source": source}), rest);
        let cases = [
            ("endpoint", endpoint(json!({})).uses("m"), true),
            ("endpoint of another", endpoint(json!({})).uses("other"), false),
            ("endpoint that goes", endpoint(leaving()).uses("m"), false),
            ("training", training(json!({})).uses("m"), true),
            ("training that is complete", training(stands("Complete", 2)).uses("m"), false),
            ("training that failed", training(stands("Failed", 2)).uses("m"), false),
            ("training that goes", training(leaving()).uses("m"), false),
            ("merge", merged(json!({})).uses("n"), true),
            ("merge that is stored", merged(stands("Ready", 2)).uses("n"), false),
            ("merge that changed since", merged(stands("Ready", 1)).uses("n"), true),
            ("merge that goes", merged(leaving()).uses("n"), false),
        ];
        for (name, uses, want) in cases {
            assert_eq!(uses, want, "{name}");
        }
    }
}
