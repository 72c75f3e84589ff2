//! What a training needs before it starts, and the Model that it ends in: read, and judged.

use easel_crds::common::Time;
use easel_crds::model::{ModelType, StoredFile};
use easel_crds::{Condition, Dataset, Model, TrainingJob};
use futures::future::try_join_all;
use k8s_openapi::NamespaceResourceScope;
use kube::api::Api;
use kube::{Client, Resource, ResourceExt};

use super::validate::{InvalidTraining, Output};
use crate::children::Owner;
use crate::conditions::{READY, STALLED, find};
use crate::error::Error;
use crate::labels::TRAINING_JOB;

/// The objects that a training names, as they stand.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    pub base: Option<Model>,
    /// By name, each once.
    pub datasets: Vec<(String, Option<Dataset>)>,
    /// What has the name of the output.
    pub output: Option<Model>,
}

/// Reads them.
///
/// # Errors
/// [`Error::Read`].
pub async fn inputs(training: &TrainingJob, owner: &Owner, client: &Client) -> Result<Inputs, Error> {
    let spec = &training.spec;
    let named =
        spec.concepts.iter().flat_map(|concept| [Some(&concept.dataset), concept.class_dataset.as_ref()]);
    let mut names: Vec<String> = named.flatten().map(|dataset| dataset.name.clone()).collect();
    names.sort();
    names.dedup();
    let datasets = try_join_all(names.into_iter().map(async |name| {
        let dataset = read::<Dataset>(client, owner, &name).await?;
        Ok((name, dataset))
    }));
    let (base, datasets, output) = tokio::try_join!(
        read::<Model>(client, owner, &spec.base_model.name),
        datasets,
        read::<Model>(client, owner, &spec.output.model_name),
    )?;
    Ok(Inputs { base, datasets, output })
}

async fn read<K>(client: &Client, owner: &Owner, name: &str) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let answer = Api::<K>::namespaced(client.clone(), &owner.namespace).get_opt(name).await;
    answer.map_err(|source| Error::Read { what: format!("{} {name}", K::kind(&())), source: source.into() })
}

/// A wait for objects: the reason, and which and why in a sentence.
pub type Wait = (&'static str, String);

/// What a training waits for; nothing if it can start.
///
/// # Errors
/// [`InvalidTraining::UnfitModel`]: waiting does not help.
pub fn waits_for(inputs: &Inputs, base: &str) -> Result<Option<Wait>, InvalidTraining> {
    let model = inputs.base.as_ref();
    if let Some(why) =
        not_ready(model.map(|model| conditions_of(model.status.as_ref().map(|s| &s.conditions))), None)
    {
        return Ok(Some(("WaitingForModel", format!("cannot be trained yet: Model {base} {why}"))));
    }
    if let Some(found) = model.filter(|model| model.spec.r#type != ModelType::Checkpoint) {
        let model_type = found.spec.r#type.as_str();
        return Err(InvalidTraining::UnfitModel { name: base.to_owned(), model_type });
    }
    let mut waits = Vec::new();
    for (name, dataset) in &inputs.datasets {
        let conditions =
            dataset.as_ref().map(|set| conditions_of(set.status.as_ref().map(|s| &s.conditions)));
        // Ready for the items of before says nothing about those of now.
        let generation = dataset.as_ref().and_then(|set| set.metadata.generation);
        waits.extend(not_ready(conditions, generation).map(|why| format!("Dataset {name} {why}")));
    }
    Ok((!waits.is_empty())
        .then(|| ("WaitingForDataset", format!("cannot be trained yet: {}", waits.join("; ")))))
}

fn conditions_of(conditions: Option<&Vec<Condition>>) -> &[Condition] {
    conditions.map_or(&[], Vec::as_slice)
}

/// Why an object is not Ready; `None` for the conditions: it does not exist.
fn not_ready(conditions: Option<&[Condition]>, generation: Option<i64>) -> Option<String> {
    let Some(conditions) = conditions else { return Some("does not exist".to_owned()) };
    match find(conditions, READY) {
        Some(ready) if generation.is_some() && ready.observed_generation != generation => {
            Some("is not Ready (it has changed)".to_owned())
        }
        Some(ready) if ready.status == "True" => None,
        Some(ready) => Some(format!("is not Ready ({})", ready.reason)),
        None => Some("is not Ready (Pending)".to_owned()),
    }
}

/// What there is under the name of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputState {
    Free,
    /// Somebody else's.
    Foreign,
    /// Ours, with the result.
    Ready,
    /// Ours, on its way; the word says where.
    Importing(String),
    /// Ours, and it does not go on: reason and message.
    Stuck(String, String),
}

/// Judges the Model of the output's name; `trained` is the hash of the result and the time of it.
pub fn output_state(
    owner: &Owner,
    output: &Output,
    found: Option<&Model>,
    trained: Option<(&str, Option<&Time>)>,
) -> OutputState {
    let Some(model) = found else { return OutputState::Free };
    let source = model.spec.source.training_job.as_ref().map(|source| &source.name);
    let label = model.labels().get(TRAINING_JOB);
    let ours = source == Some(&owner.name) && label == Some(&owner.name);
    if !ours || model.spec.r#type != output.model_type || model.metadata.deletion_timestamp.is_some() {
        return OutputState::Foreign;
    }
    let conditions = conditions_of(model.status.as_ref().map(|status| &status.conditions));
    let files: &[StoredFile] = model.status.as_ref().map_or(&[], |status| &status.files);
    let Some(ready) = find(conditions, READY) else { return OutputState::Importing("Pending".to_owned()) };
    let (sha256, at) = trained.unzip();
    // Ready with a former result is not Ready with this one, and neither is a former failure one of it.
    if ready.status == "True" && files.iter().any(|file| Some(file.sha256.as_str()) == sha256) {
        return OutputState::Ready;
    }
    let stalled = find(conditions, STALLED).filter(|stalled| stalled.status == "True");
    let since = |stalled: &Condition| at.flatten().is_none_or(|at| stalled.last_transition_time.0 >= at.0);
    match stalled {
        Some(stalled) if since(stalled) => OutputState::Stuck(ready.reason.clone(), ready.message.clone()),
        _ => OutputState::Importing(ready.reason.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::labels::Component;
    use crate::training::build::testing::training;

    const EARLY: &str = "2026-01-01T00:00:00Z";
    const LATE: &str = "2026-01-02T00:00:00Z";

    fn condition(type_: &str, status: &str, reason: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": "m", "observedGeneration": 2,
            "lastTransitionTime": LATE})
    }

    fn model(model_type: &str, status: &str) -> Model {
        serde_json::from_value(json!({
            "apiVersion": "easel.dev/v1alpha1", "kind": "Model", "metadata": {"name": "m", "namespace": "tenant"},
            "spec": {"type": model_type, "source": {"objectStore": {"key": "k"}}},
            "status": {"conditions": [condition("Ready", status, "Importing")]},
        }))
        .unwrap()
    }

    fn dataset(generation: i64, status: &str) -> Dataset {
        serde_json::from_value(json!({
            "apiVersion": "easel.dev/v1alpha1", "kind": "Dataset",
            "metadata": {"name": "d", "namespace": "tenant", "generation": generation}, "spec": {},
            "status": {"conditions": [condition("Ready", status, "ItemsMissing")]},
        }))
        .unwrap()
    }

    #[test]
    fn a_training_waits_for_what_is_not_there_and_says_for_which() {
        let inputs = |base: Option<Model>, set: Option<Dataset>| Inputs {
            base,
            datasets: vec![("d".to_owned(), set)],
            output: None,
        };
        let ready = || Some(model("Checkpoint", "True"));
        let cases = [
            (inputs(None, Some(dataset(2, "True"))), Some("WaitingForModel: Model m does not exist")),
            (
                inputs(Some(model("Checkpoint", "False")), None),
                Some("WaitingForModel: Model m is not Ready (Importing)"),
            ),
            (inputs(ready(), None), Some("WaitingForDataset: Dataset d does not exist")),
            (
                inputs(ready(), Some(dataset(2, "False"))),
                Some("WaitingForDataset: Dataset d is not Ready (ItemsMissing)"),
            ),
            (
                inputs(ready(), Some(dataset(3, "True"))),
                Some("WaitingForDataset: Dataset d is not Ready (it has changed)"),
            ),
            (inputs(ready(), Some(dataset(2, "True"))), None),
        ];
        for (inputs, want) in cases {
            let waits = waits_for(&inputs, "m").unwrap();
            let told = waits
                .map(|(reason, why)| format!("{reason}: {}", why.replace("cannot be trained yet: ", "")));
            assert_eq!(told.as_deref(), want);
        }
        let error = waits_for(&inputs(Some(model("Lora", "True")), None), "m").unwrap_err();
        assert_eq!(error.reason(), "UnfitModel");
    }

    #[test]
    fn only_a_model_of_this_training_with_this_result_is_the_output() {
        let owner = Owner::of(&training("{}"), Component::Train).unwrap();
        let output = Output { model: "out".into(), display_name: None, model_type: ModelType::Lora };
        let made = |change: &dyn Fn(&mut Value)| {
            let mut made = json!({
                "apiVersion": "easel.dev/v1alpha1", "kind": "Model",
                "metadata": {"name": "out", "namespace": "tenant", "labels": {"easel.dev/training-job": "t"}},
                "spec": {"type": "Lora", "source": {"trainingJob": {"name": "t"}}},
                "status": {"files": [{"name": "f", "key": "k", "sha256": "a".repeat(64), "sizeBytes": 1}],
                    "conditions": [condition("Ready", "True", "Imported")]},
            });
            change(&mut made);
            serde_json::from_value::<Model>(made).unwrap()
        };
        let fails = |model: &mut Value| {
            model["status"]["conditions"] =
                json!([condition("Ready", "False", "BadHeader"), condition("Stalled", "True", "BadHeader")]);
        };
        let time = |text: &str| serde_json::from_value::<Time>(json!(text)).unwrap();
        let sha = "a".repeat(64);
        let state = |model: Option<&Model>, sha: &str, at: &str| {
            output_state(&owner, &output, model, Some((sha, Some(&time(at)))))
        };
        assert_eq!(state(None, &sha, EARLY), OutputState::Free);
        assert_eq!(state(Some(&made(&|_| ())), &sha, EARLY), OutputState::Ready);
        let former = state(Some(&made(&|_| ())), &"b".repeat(64), EARLY);
        assert_eq!(former, OutputState::Importing("Imported".into()), "of another result");
        let stuck = OutputState::Stuck("BadHeader".into(), "m".into());
        assert_eq!(state(Some(&made(&fails)), &sha, EARLY), stuck);
        let before = state(Some(&made(&fails)), &sha, "2026-01-03T00:00:00Z");
        assert_eq!(before, OutputState::Importing("BadHeader".into()), "it failed before this result");
        let foreign: [&dyn Fn(&mut Value); 4] = [
            &|model| model["metadata"]["labels"] = json!({}),
            &|model| model["spec"]["source"] = json!({"objectStore": {"key": "k"}}),
            &|model| model["spec"]["type"] = json!("Checkpoint"),
            &|model| model["metadata"]["deletionTimestamp"] = json!(LATE),
        ];
        for change in foreign {
            assert_eq!(state(Some(&made(change)), &sha, EARLY), OutputState::Foreign);
        }
    }
}
