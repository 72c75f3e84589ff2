//! From TrainingJobs and Datasets to [`super::training_views`]. The API server lets only decimals through where the
//! schema asks for one; what is none would be 0.

use easel_crds::common::{Precision, condition};
use easel_crds::dataset::{DatasetItem, DatasetState, MediaType};
use easel_crds::training_job::{
    Activation, Concept, HypernetworkParameters, Hyperparameters, LearningRateSchedule as Schedule,
    LoraParameters, Optimizer as OptimizerName, TextualInversionParameters, TrainingJobSpec, TrainingMethod,
};
use easel_crds::{Condition, Dataset, TrainingJob};
use easel_protocol::training::{
    CheckpointPolicy, ClassConcept, LearningRateSchedule, Optimizer, SamplePolicy, TrainConcept,
    TrainHyperparameters, TrainLength, TrainMethod, TrainOutput, TrainPrecision,
};
use jiff::Timestamp;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use super::convert::{condition_view, created, sentence, stored_file};
use super::training_views::{
    DatasetCounts, DatasetView, ItemView, ManifestView, NOTE_ANNOTATION, SampleView, TrainingFigures,
    TrainingState, TrainingView,
};
use super::views::ConditionView;

/// Taken apart whole, so that a new field of the spec has to be thought of here.
pub fn training(object: &TrainingJob) -> TrainingView {
    let TrainingJobSpec {
        method,
        base_model,
        concepts,
        output,
        hyperparameters,
        lora,
        textual_inversion,
        hypernetwork,
        checkpoints,
        samples,
        suspend,
        // The operator's, about the pod.
        instance_type: _,
        resources: _,
        resource_claims: _,
        node_selector: _,
        tolerations: _,
        priority_class_name: _,
        device: _,
        queue_name: _,
        timeout_seconds: _,
        retries: _,
        ttl_seconds_after_finished: _,
    } = &object.spec;
    let uid = object.uid().unwrap_or_default();
    let status = object.status.clone().unwrap_or_default();
    let figures = TrainingFigures {
        stage: status.stage,
        stage_done: status.stage_done,
        stage_total: status.stage_total,
        step: status.step,
        total_steps: status.total_steps,
        epoch: status.epoch,
        loss: status.loss,
        milli_seconds_per_step: status.milli_seconds_per_step,
        eta_seconds: status.eta_seconds,
    };
    let picture = |sample: &easel_crds::training_job::SamplePicture| SampleView {
        step: sample.step,
        prompt: sample.prompt.clone(),
        key: sample.key.clone(),
    };
    TrainingView {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        created: created(object).unwrap_or(Timestamp::UNIX_EPOCH),
        method: self::method(*method, lora.as_ref(), textual_inversion.as_ref(), hypernetwork.as_ref()),
        base_model: base_model.name.clone(),
        concepts: concepts.iter().map(concept).collect(),
        hyperparameters: self::hyperparameters(hyperparameters, &uid),
        uid,
        checkpoints: CheckpointPolicy { every_steps: checkpoints.every_steps, keep: checkpoints.keep },
        samples: samples.as_ref().map(|samples| SamplePolicy {
            every_steps: samples.every_steps,
            prompts: samples.prompts.clone(),
            seed: samples.seed,
            steps: samples.steps,
        }),
        output: TrainOutput {
            file_name: format!("{}.safetensors", output.model_name),
            precision: precision(output.precision).unwrap_or(TrainPrecision::F16),
        },
        output_model: output.model_name.clone(),
        state: state(*suspend, &status.conditions),
        ready: ready(&status.conditions, "the operator has not looked at this TrainingJob yet"),
        figures,
        job: status.job,
        pictures: status.samples.iter().map(picture).collect(),
        losses: status.losses,
        result: status.result.as_ref().map(stored_file),
        last_failure: status.last_failure.as_ref().map(sentence),
        note: object.annotations().get(NOTE_ANNOTATION).cloned(),
    }
}

fn state(suspend: bool, conditions: &[Condition]) -> TrainingState {
    let holds = |kind: &str| conditions.iter().any(|found| found.type_ == kind && found.status == "True");
    if holds(condition::COMPLETE) {
        TrainingState::Complete
    } else if holds(condition::FAILED) {
        TrainingState::Failed
    } else if suspend {
        TrainingState::Held
    } else {
        TrainingState::Going
    }
}

fn ready(conditions: &[Condition], absent: &str) -> ConditionView {
    let found = conditions.iter().find(|found| found.type_ == condition::READY);
    found.map_or_else(|| ConditionView::absent(absent), condition_view)
}

fn method(
    method: TrainingMethod,
    lora: Option<&LoraParameters>,
    inversion: Option<&TextualInversionParameters>,
    hypernetwork: Option<&HypernetworkParameters>,
) -> TrainMethod {
    match method {
        TrainingMethod::Lora => self::lora(lora),
        TrainingMethod::DreamBooth => TrainMethod::DreamBooth,
        TrainingMethod::TextualInversion => TrainMethod::TextualInversion {
            // A rule of the kind has it set for this method.
            token: inversion.map(|inversion| inversion.token.clone()).unwrap_or_default(),
            vectors: inversion.map_or(1, |inversion| inversion.vectors),
            initializer_text: inversion
                .and_then(|inversion| inversion.initializer_text.clone())
                .unwrap_or_else(|| "*".to_owned()),
        },
        TrainingMethod::Hypernetwork => TrainMethod::Hypernetwork {
            hidden_multiplier: hypernetwork.map_or(2.0, |shape| f64::from(shape.hidden_multiplier)),
            activation: activation(hypernetwork.map(|shape| shape.activation).unwrap_or_default()).to_owned(),
            layer_norm: hypernetwork.is_some_and(|shape| shape.layer_norm),
        },
        TrainingMethod::FullFineTune => TrainMethod::FullFineTune,
    }
}

/// Without the block the numbers are the defaults of its fields.
fn lora(shape: Option<&LoraParameters>) -> TrainMethod {
    let rank = shape.map_or(4, |shape| shape.rank);
    let conv = shape.and_then(|shape| {
        let rank = shape.conv_rank?;
        Some((rank, f64::from(shape.conv_alpha.unwrap_or(rank))))
    });
    TrainMethod::Lora {
        rank,
        alpha: f64::from(shape.and_then(|shape| shape.alpha).unwrap_or(rank)),
        text_encoder_rank: shape.map_or(4, |shape| shape.text_encoder_rank),
        conv,
        attention_only: shape.is_some_and(|shape| shape.attention_only),
        dropout: shape.map_or(0.0, |shape| number(&shape.dropout)),
    }
}

/// The reference's words.
fn activation(activation: Activation) -> &'static str {
    match activation {
        Activation::Linear => "linear",
        Activation::Relu => "relu",
        Activation::LeakyRelu => "leakyrelu",
        Activation::Swish => "swish",
    }
}

fn concept(concept: &Concept) -> TrainConcept {
    let Concept {
        dataset,
        instance_prompt,
        class_prompt,
        class_negative_prompt,
        class_dataset,
        class_pictures_per_picture,
        repeats,
    } = concept;
    TrainConcept {
        dataset: dataset.name.clone(),
        instance_prompt: instance_prompt.clone(),
        repeats: *repeats,
        class: class_prompt.as_ref().map(|prompt| ClassConcept {
            prompt: prompt.clone(),
            negative_prompt: class_negative_prompt.clone().unwrap_or_default(),
            dataset: class_dataset.as_ref().map(|dataset| dataset.name.clone()),
            pictures_per_picture: *class_pictures_per_picture,
        }),
    }
}

fn hyperparameters(given: &Hyperparameters, uid: &str) -> TrainHyperparameters {
    let length = match (given.steps, given.epochs) {
        (Some(steps), _) => TrainLength::Steps(steps),
        // A rule of the kind has one of them set.
        (None, epochs) => TrainLength::Epochs(epochs.unwrap_or(1)),
    };
    let optional = |text: &Option<String>| text.as_deref().map(number);
    TrainHyperparameters {
        length,
        batch_size: given.batch_size,
        gradient_accumulation_steps: given.gradient_accumulation_steps,
        gradient_checkpointing: given.gradient_checkpointing,
        resolution: given.resolution,
        learning_rate: number(&given.learning_rate),
        text_encoder_learning_rate: optional(&given.text_encoder_learning_rate),
        text_encoder_percent: given.text_encoder_percent,
        schedule: match given.learning_rate_schedule {
            Schedule::Constant => LearningRateSchedule::Constant,
            Schedule::Linear => LearningRateSchedule::Linear,
            Schedule::Cosine => LearningRateSchedule::Cosine,
            Schedule::CosineWithRestarts => LearningRateSchedule::CosineWithRestarts,
            Schedule::Polynomial => LearningRateSchedule::Polynomial,
        },
        warmup_steps: given.warmup_steps,
        optimizer: match given.optimizer {
            OptimizerName::AdamW => Optimizer::AdamW,
            OptimizerName::AdamW8Bit => Optimizer::AdamW8Bit,
            OptimizerName::Adafactor => Optimizer::Adafactor,
            OptimizerName::Sgd => Optimizer::Sgd,
        },
        weight_decay: number(&given.weight_decay),
        max_gradient_norm: number(&given.max_gradient_norm),
        precision: precision(given.precision),
        seed: given.seed.unwrap_or_else(|| seed(uid)),
        clip_skip: given.clip_skip,
        exponential_moving_average: given.exponential_moving_average,
        prior_loss_weight: number(&given.prior_loss_weight),
        noise_offset: number(&given.noise_offset),
        min_snr_gamma: optional(&given.min_snr_gamma),
        caption_dropout_percent: given.caption_dropout_percent,
        shuffle_captions: given.shuffle_captions,
        keep_tokens: given.keep_tokens,
        aspect_ratio_buckets: given.aspect_ratio_buckets,
        random_crop: given.random_crop,
        horizontal_flip: given.horizontal_flip,
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or(0.0)
}

/// Auto is `None`.
fn precision(precision: Precision) -> Option<TrainPrecision> {
    match precision {
        Precision::Auto => None,
        Precision::F32 => Some(TrainPrecision::F32),
        Precision::F16 => Some(TrainPrecision::F16),
        Precision::Bf16 => Some(TrainPrecision::Bf16),
    }
}

/// Of a job that names none: another for each job, the same for all its attempts, or a run that goes on from a
/// checkpoint would see other noise than before. In the range that the spec allows.
fn seed(uid: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(uid).into();
    u64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
}

pub fn dataset(object: &Dataset) -> DatasetView {
    let status = object.status.clone().unwrap_or_default();
    let name = object.name_any();
    DatasetView {
        namespace: object.namespace().unwrap_or_default(),
        uid: object.uid().unwrap_or_default(),
        created: created(object).unwrap_or(Timestamp::UNIX_EPOCH),
        dataset_name: object.spec.dataset_name.clone().unwrap_or_else(|| name.clone()),
        name,
        description: object.spec.description.clone(),
        enabled: object.spec.state == DatasetState::Enabled,
        items: object.spec.items.iter().map(item).collect(),
        manifest: object
            .spec
            .manifest
            .as_ref()
            .map(|manifest| ManifestView { key: manifest.key.clone(), sha256: manifest.sha256.clone() }),
        ready: ready(&status.conditions, "the operator has not looked at this Dataset yet"),
        counts: DatasetCounts {
            items: status.item_count,
            enabled: status.enabled_count,
            missing: status.missing_count,
            invalid: status.invalid_count,
            duplicates: status.duplicate_count,
        },
        report: status.report,
        note: object.annotations().get(NOTE_ANNOTATION).cloned(),
    }
}

/// Of a spec or of a line of a manifest.
pub fn item(item: &DatasetItem) -> ItemView {
    let DatasetItem { name, key, sha256, size_bytes, media_type, caption, state } = item;
    ItemView {
        name: name.clone(),
        key: key.clone(),
        sha256: sha256.clone(),
        size_bytes: *size_bytes,
        media_type: media_type.map(|media_type| match media_type {
            MediaType::Png => "image/png",
            MediaType::Jpeg => "image/jpeg",
            MediaType::Webp => "image/webp",
        }),
        caption: caption.clone(),
        enabled: *state == DatasetState::Enabled,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(spec: &Value, status: &Value) -> TrainingView {
        let mut whole = json!({
            "baseModel": {"name": "base"}, "output": {"modelName": "style"}, "method": "Lora",
            "concepts": [{"dataset": {"name": "cats"}, "instancePrompt": "a cat"}],
            "hyperparameters": {"steps": 100},
        });
        for (name, value) in spec.as_object().expect("fields") {
            whole[name] = value.clone();
        }
        let object = json!({"apiVersion": "easel.dev/v1alpha1", "kind": "TrainingJob",
            "metadata": {"name": "j", "namespace": "team", "uid": "0123456789"}, "spec": whole, "status": status});
        training(&serde_json::from_value(object).expect("a TrainingJob"))
    }

    #[test]
    fn a_plain_job_has_every_default() {
        let view = job(&json!({}), &json!({}));
        let want = TrainMethod::Lora {
            rank: 4,
            alpha: 4.0,
            text_encoder_rank: 4,
            conv: None,
            attention_only: false,
            dropout: 0.0,
        };
        assert_eq!(view.method, want);
        let numbers = &view.hyperparameters;
        assert_eq!((numbers.length, numbers.learning_rate), (TrainLength::Steps(100), 1e-4));
        assert_eq!((numbers.weight_decay, numbers.prior_loss_weight), (0.01, 0.75));
        assert_eq!((numbers.precision, view.output.precision), (None, TrainPrecision::F16));
        assert_eq!(view.output.file_name, "style.safetensors");
        assert!(view.concepts[0].class.is_none());
        assert_eq!((view.checkpoints.every_steps, view.checkpoints.keep), (500, 2));
    }

    #[test]
    fn a_seed_is_the_uids_unless_one_is_given() {
        let given = json!({"hyperparameters": {"steps": 1, "seed": 7}});
        assert_eq!(job(&given, &json!({})).hyperparameters.seed, 7);
        let drawn = job(&json!({}), &json!({})).hyperparameters.seed;
        assert_eq!(drawn, seed("0123456789"));
        assert!(drawn != seed("another") && drawn <= u64::from(u32::MAX));
    }

    #[test]
    fn methods_carry_their_blocks() {
        let cases = [
            (
                json!({"method": "Lora", "lora": {"rank": 8, "alpha": 2, "convRank": 4, "dropout": "0.5"}}),
                TrainMethod::Lora {
                    rank: 8,
                    alpha: 2.0,
                    text_encoder_rank: 4,
                    conv: Some((4, 4.0)),
                    attention_only: false,
                    dropout: 0.5,
                },
            ),
            (json!({"method": "DreamBooth"}), TrainMethod::DreamBooth),
            (json!({"method": "FullFineTune"}), TrainMethod::FullFineTune),
            (
                json!({"method": "TextualInversion", "textualInversion": {"token": "sks", "vectors": 3}}),
                TrainMethod::TextualInversion {
                    token: "sks".into(),
                    vectors: 3,
                    initializer_text: "*".into(),
                },
            ),
            (
                json!({"method": "Hypernetwork", "hypernetwork": {"activation": "LeakyRelu"}}),
                TrainMethod::Hypernetwork {
                    hidden_multiplier: 2.0,
                    activation: "leakyrelu".into(),
                    layer_norm: false,
                },
            ),
        ];
        for (spec, want) in cases {
            assert_eq!(job(&spec, &json!({})).method, want, "{spec}");
        }
    }

    #[test]
    fn the_state_follows_the_conditions_before_the_spec() {
        let condition = |kind: &str, status: &str| {
            json!({"conditions": [{"type": kind, "status": status, "reason": "R", "message": "why",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
        };
        let held = json!({"suspend": true});
        let cases = [
            (json!({}), json!({}), TrainingState::Going),
            (held.clone(), json!({}), TrainingState::Held),
            (held.clone(), condition("Complete", "True"), TrainingState::Complete),
            (held, condition("Failed", "False"), TrainingState::Held),
            (json!({}), condition("Failed", "True"), TrainingState::Failed),
        ];
        for (spec, status, want) in cases {
            assert_eq!(job(&spec, &status).state, want, "{spec} {status}");
        }
    }
}
