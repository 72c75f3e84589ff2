//! The TrainingJob whose result a Model is: read, and judged.

use easel_crds::common::condition::FAILED;
use easel_crds::model::StoredFile;
use easel_crds::{Condition, Model, ModelStatus, TrainingJob};
use kube::Client;
use kube::api::Api;

use super::ValidModel;
use crate::children::{Owner, sha256_hex};
use crate::conditions::{READY, find};
use crate::error::Error;

/// What a training has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Training {
    /// The sentence says why there is no result.
    Unfinished(String),
    /// The hash of the result.
    Trained(String),
}

/// Reads the TrainingJob that the source names; none for any other source.
///
/// # Errors
/// [`Error::Read`].
pub async fn training(model: &Model, owner: &Owner, client: &Client) -> Result<Option<Training>, Error> {
    let Some(source) = &model.spec.source.training_job else { return Ok(None) };
    let name = &source.name;
    let answer = Api::<TrainingJob>::namespaced(client.clone(), &owner.namespace).get_opt(name).await;
    let what = || format!("TrainingJob {name}");
    let found = answer.map_err(|source| Error::Read { what: what(), source: source.into() })?;
    Ok(Some(judge(name, found.as_ref())))
}

fn judge(name: &str, training: Option<&TrainingJob>) -> Training {
    let Some(training) = training else {
        return Training::Unfinished(format!("TrainingJob {name} does not exist"));
    };
    let status = training.status.as_ref();
    if let Some(result) = status.and_then(|status| status.result.as_ref()) {
        return Training::Trained(result.sha256.clone());
    }
    let conditions: &[Condition] = status.map_or(&[], |status| &status.conditions);
    let failed = find(conditions, FAILED).filter(|failed| failed.status == "True");
    Training::Unfinished(match (failed, find(conditions, READY)) {
        (Some(failed), _) => format!("TrainingJob {name} has failed ({})", failed.reason),
        (None, Some(ready)) => format!("TrainingJob {name} has no result yet ({})", ready.reason),
        (None, None) => format!("TrainingJob {name} has no result yet (Pending)"),
    })
}

/// The Model with what its training has come to: another result is another source. What is stored stays, also when the
/// TrainingJob is gone or is at it again.
pub fn of_training(
    valid: ValidModel,
    training: Option<&Training>,
    status: Option<&ModelStatus>,
) -> ValidModel {
    let Some(training) = training else { return valid };
    let hash = |sha256: &str| sha256_hex(format!("{}/{sha256}", valid.source_hash).as_bytes());
    let files: &[StoredFile] = status.map_or(&[], |status| &status.files);
    let known = status.and_then(|status| status.source_hash.as_ref());
    let stored = files.iter().map(|file| hash(&file.sha256)).find(|hash| Some(hash) == known);
    match (training, stored) {
        (Training::Trained(sha256), _) => ValidModel { source_hash: hash(sha256), ..valid },
        (Training::Unfinished(_), Some(source_hash)) => ValidModel { source_hash, ..valid },
        (Training::Unfinished(why), None) => ValidModel { awaits_training: Some(why.clone()), ..valid },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::build::testing::model;
    use crate::model::validate;

    #[test]
    fn a_result_is_known_by_its_hash_and_its_absence_is_explained() {
        let training = |status: serde_json::Value| {
            let mut object = json!({"apiVersion": "easel.dev/v1alpha1", "kind": "TrainingJob",
                "metadata": {"name": "t"},
                "spec": {"method": "Lora", "baseModel": {"name": "m"}, "output": {"modelName": "out"},
                    "concepts": [{"dataset": {"name": "d"}, "instancePrompt": "p"}],
                    "hyperparameters": {"steps": 1, "resolution": 512}}});
            object["status"] = status;
            serde_json::from_value::<TrainingJob>(object).unwrap()
        };
        let condition = |type_: &str, status: &str, reason: &str| {
            json!({"type": type_, "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let ready = condition("Ready", "False", "Training");
        let cases = [
            (None, "TrainingJob t does not exist"),
            (Some(json!({})), "TrainingJob t has no result yet (Pending)"),
            (Some(json!({"conditions": [ready]})), "TrainingJob t has no result yet (Training)"),
            (
                Some(json!({"conditions": [ready, condition("Failed", "True", "NoPictures")]})),
                "TrainingJob t has failed (NoPictures)",
            ),
        ];
        for (status, want) in cases {
            assert_eq!(judge("t", status.map(training).as_ref()), Training::Unfinished(want.to_owned()));
        }
        let result = json!({"result": {"name": "n", "key": "k", "sha256": "a".repeat(64), "sizeBytes": 1}});
        assert_eq!(judge("t", Some(&training(result))), Training::Trained("a".repeat(64)));
    }

    #[test]
    fn another_result_is_another_source_and_what_is_stored_outlives_its_training() {
        let plain = || validate(&model("{trainingJob: {name: t}}")).unwrap();
        let trained = |digit: &str| Training::Trained(digit.repeat(64));
        let gone = Training::Unfinished("TrainingJob t does not exist".into());
        let hash = |digit: &str| of_training(plain(), Some(&trained(digit)), None).source_hash;
        assert_ne!(hash("a"), hash("b"));
        let stored = |source_hash: &str| {
            serde_json::from_value::<ModelStatus>(json!({"sourceHash": source_hash, "files":
                [{"name": "n", "key": "k", "sha256": "a".repeat(64), "sizeBytes": 1}]}))
            .unwrap()
        };
        let kept = of_training(plain(), Some(&gone), Some(&stored(&hash("a"))));
        assert_eq!((kept.source_hash, kept.awaits_training), (hash("a"), None));
        let of_another = of_training(plain(), Some(&gone), Some(&stored("other")));
        assert_eq!(of_another.awaits_training.as_deref(), Some("TrainingJob t does not exist"));
        assert_eq!(of_training(plain(), None, None).source_hash, plain().source_hash);
    }
}
