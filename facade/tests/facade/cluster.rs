//! The API server of the tests: objects in memory, with what the facade depends on: versions, UIDs, merge patches,
//! and server-side apply by field manager.

use std::collections::BTreeMap;
use std::sync::Mutex;

use easel_crds::endpoint::ServedModel;
use easel_crds::training_job::TrainingJobStatus;
use easel_crds::{Dataset, Model, TrainingJob};
use easel_facade::catalog::{
    Cluster, ClusterError, Reviewed, SecretData, SecretUse, StatusPart, TokenReviewer, TrainingCluster,
    Transfer,
};
use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// What the facade asked of the API server, and what it is answered.
#[derive(Default)]
pub struct FakeCluster {
    /// `namespace/model` of each completed upload.
    pub uploaded: Mutex<Vec<String>>,
    pub transfers: Mutex<Vec<(String, Transfer)>>,
    /// Each write of `status.models`, with the Endpoint's `namespace/name uid`.
    pub served: Mutex<Vec<(String, Vec<ServedModel>)>>,
    /// What the API server has; `None` while it does not answer.
    pub models: Mutex<Option<Vec<Model>>>,
    /// `namespace/name label` to data.
    pub secrets: Mutex<BTreeMap<String, SecretData>>,
    pub trainings: Mutex<Vec<TrainingJob>>,
    pub datasets: Mutex<Vec<Dataset>>,
    /// What was applied last, by TrainingJob and part.
    applied: Mutex<BTreeMap<(String, StatusPart), Map<String, Value>>>,
}

impl TokenReviewer for FakeCluster {
    /// A token reads `<namespace>/<account>/<pod>`; anything else is nobody's.
    fn review<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Option<Reviewed>, ClusterError>> {
        let parts: Vec<&str> = token.split('/').collect();
        let reviewed = match parts.as_slice() {
            [namespace, account, pod] => Some(Reviewed {
                user: format!("system:serviceaccount:{namespace}:{account}"),
                pod: Some((*pod).to_owned()),
            }),
            _ => None,
        };
        Box::pin(async move { Ok(reviewed) })
    }
}

impl Cluster for FakeCluster {
    fn mark_uploaded<'a>(
        &'a self,
        namespace: &'a str,
        model: &'a str,
        _: Timestamp,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        self.uploaded.lock().unwrap().push(format!("{namespace}/{model}"));
        Box::pin(async { Ok(true) })
    }

    fn report_import<'a>(
        &'a self,
        namespace: &'a str,
        model: &'a str,
        transfer: Transfer,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        self.transfers.lock().unwrap().push((format!("{namespace}/{model}"), transfer));
        Box::pin(async { Ok(()) })
    }

    fn report_models<'a>(
        &'a self,
        namespace: &'a str,
        endpoint: &'a str,
        uid: &'a str,
        models: &'a [ServedModel],
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        let whose = format!("{namespace}/{endpoint} {uid}");
        self.served.lock().unwrap().push((whose, models.to_vec()));
        Box::pin(async { Ok(()) })
    }

    fn each_model<'a>(
        &'a self,
        namespaces: &'a [String],
        show: &'a mut (dyn FnMut(&Model) + Send),
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        let seen = |model: &&Model| {
            namespaces.is_empty() || namespaces.iter().any(|n| model.metadata.namespace.as_ref() == Some(n))
        };
        let shown = match &*self.models.lock().unwrap() {
            Some(models) => {
                models.iter().filter(seen).for_each(show);
                Ok(())
            }
            None => Err(ClusterError::ReadAll {
                kind: "Model",
                place: "all namespaces".into(),
                source: Box::new(kube::Error::LinesCodecMaxLineLengthExceeded),
            }),
        };
        Box::pin(async move { shown })
    }

    fn secret<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        purpose: SecretUse,
    ) -> BoxFuture<'a, Result<Option<SecretData>, ClusterError>> {
        let name = format!("{namespace}/{name} {}", purpose.label());
        let secret = self.secrets.lock().unwrap().get(&name).cloned();
        Box::pin(async move { Ok(secret) })
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name.as_str()], value);
        }
    }
}

/// Another version of an object.
fn touched<K: Serialize + DeserializeOwned>(object: &K, change: impl FnOnce(&mut Value)) -> K {
    let mut value = serde_json::to_value(object).unwrap();
    change(&mut value);
    let version = value["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse::<u64>().ok());
    value["metadata"]["resourceVersion"] = (version.unwrap_or(0) + 1).to_string().into();
    serde_json::from_value(value).unwrap()
}

fn create<K>(kind: &'static str, objects: &Mutex<Vec<K>>, object: &K) -> Result<K, ClusterError>
where
    K: ResourceExt + Clone + Serialize + DeserializeOwned,
{
    let mut objects = objects.lock().unwrap();
    let (namespace, name) = (object.namespace().unwrap(), object.name_any());
    if objects
        .iter()
        .any(|other| (other.namespace().as_ref(), other.name_any()) == (Some(&namespace), name.clone()))
    {
        return Err(ClusterError::Conflict { kind, namespace, name });
    }
    let made = touched(object, |value| {
        value["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
        value["metadata"]["creationTimestamp"] = "2026-01-05T00:00:00Z".into();
    });
    objects.push(made.clone());
    Ok(made)
}

fn patch<K>(
    kind: &'static str,
    objects: &Mutex<Vec<K>>,
    namespace: &str,
    name: &str,
    patch: &Value,
) -> Result<bool, ClusterError>
where
    K: ResourceExt + Serialize + DeserializeOwned,
{
    let mut objects = objects.lock().unwrap();
    let found =
        objects.iter_mut().find(|o| o.namespace().as_deref() == Some(namespace) && o.name_any() == name);
    let Some(object) = found else { return Ok(false) };
    let asked = patch["metadata"]["resourceVersion"].as_str();
    if asked.is_some() && asked != object.resource_version().as_deref() {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        return Err(ClusterError::Conflict { kind, namespace, name });
    }
    *object = touched(object, |value| merge(value, patch));
    Ok(true)
}

fn show_all<K: ResourceExt>(
    objects: &Mutex<Vec<K>>,
    namespaces: &[String],
    show: &mut (dyn FnMut(&K) + Send),
) {
    let seen = |object: &&K| {
        namespaces.is_empty() || object.namespace().is_some_and(|own| namespaces.contains(&own))
    };
    objects.lock().unwrap().iter().filter(seen).for_each(show);
}

impl TrainingCluster for FakeCluster {
    fn create_training<'a>(
        &'a self,
        job: &'a TrainingJob,
    ) -> BoxFuture<'a, Result<TrainingJob, ClusterError>> {
        let made = create("TrainingJob", &self.trainings, job);
        Box::pin(async move { made })
    }

    fn patch_training<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        body: &'a Value,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        let patched = patch("TrainingJob", &self.trainings, namespace, name, body);
        Box::pin(async move { patched })
    }

    /// As a server-side apply: what the manager does not name any more goes, all else stays.
    fn report_training<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        part: StatusPart,
        status: &'a TrainingJobStatus,
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        let Value::Object(fields) = serde_json::to_value(status).unwrap() else { unreachable!("a struct") };
        let mut change: Map<String, Value> = fields.clone();
        let before = self.applied.lock().unwrap().insert((format!("{namespace}/{name}"), part), fields);
        for gone in before.unwrap_or_default().keys() {
            change.entry(gone).or_insert(Value::Null);
        }
        let patched = patch("TrainingJob", &self.trainings, namespace, name, &json!({"status": change}));
        assert!(patched.is_ok_and(|found| found), "{namespace}/{name}");
        Box::pin(async { Ok(()) })
    }

    fn each_training<'a>(
        &'a self,
        namespaces: &'a [String],
        show: &'a mut (dyn FnMut(&TrainingJob) + Send),
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        show_all(&self.trainings, namespaces, show);
        Box::pin(async { Ok(()) })
    }

    fn create_dataset<'a>(&'a self, dataset: &'a Dataset) -> BoxFuture<'a, Result<Dataset, ClusterError>> {
        let made = create("Dataset", &self.datasets, dataset);
        Box::pin(async move { made })
    }

    fn dataset<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Dataset>, ClusterError>> {
        let objects = self.datasets.lock().unwrap();
        let own = |o: &&Dataset| o.namespace().as_deref() == Some(namespace) && o.name_any() == name;
        let found = objects.iter().find(own).cloned();
        Box::pin(async move { Ok(found) })
    }

    fn patch_dataset<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
        body: &'a Value,
    ) -> BoxFuture<'a, Result<bool, ClusterError>> {
        let patched = patch("Dataset", &self.datasets, namespace, name, body);
        Box::pin(async move { patched })
    }

    fn each_dataset<'a>(
        &'a self,
        namespaces: &'a [String],
        show: &'a mut (dyn FnMut(&Dataset) + Send),
    ) -> BoxFuture<'a, Result<(), ClusterError>> {
        show_all(&self.datasets, namespaces, show);
        Box::pin(async { Ok(()) })
    }
}
