//! What the API server's rules cannot check, and what a reconcile must not take on trust: an object may be older than
//! the rules. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use easel_crds::TrainingJob;
use easel_crds::model::ModelType;
use easel_crds::training_job::{Hyperparameters, TrainingJobSpec, TrainingMethod};

use crate::catalogue::Catalogue;
use crate::children::Owner;
use crate::error::Error;
use crate::labels::Component;
use crate::placement::{InvalidPlacement, Placement, Wanted, place};

/// A spec that cannot be trained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTraining {
    #[error(transparent)]
    Placement(#[from] InvalidPlacement),
    #[error("{field} is \"{value}\", which is no number {wanted}, such as 1e-4")]
    Number { field: &'static str, value: String, wanted: &'static str },
    #[error("spec.hyperparameters must set exactly one of steps and epochs")]
    Length,
    #[error("spec.{block} is for method {of} only, and spec.method is {method:?}")]
    Block { block: &'static str, of: &'static str, method: TrainingMethod },
    #[error("spec.textualInversion must name the token that method TextualInversion teaches")]
    NoToken,
    #[error("Model {name} is of type {model_type}; only a Model of type Checkpoint can be trained from")]
    UnfitModel { name: String, model_type: &'static str },
    #[error(
        "Model {name} exists and is not of this TrainingJob: delete it, or make a TrainingJob with another \
         spec.output.modelName"
    )]
    OutputModelExists { name: String },
}

impl InvalidTraining {
    /// Stable CamelCase word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Placement(invalid) => invalid.reason(),
            Self::Number { .. } | Self::Length => "InvalidHyperparameters",
            Self::Block { .. } | Self::NoToken => "InvalidMethod",
            Self::UnfitModel { .. } => "UnfitModel",
            Self::OutputModelExists { .. } => "OutputModelExists",
        }
    }
}

/// What becomes of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub model: String,
    pub display_name: Option<String>,
    pub model_type: ModelType,
}

/// A TrainingJob that can be trained.
#[derive(Clone, Debug)]
pub struct ValidTraining {
    pub owner: Owner,
    pub generation: i64,
    pub placement: Placement,
    pub base: String,
    /// Each Dataset once, by name.
    pub datasets: Vec<String>,
    pub output: Output,
    pub suspended: bool,
    /// The queue of Kueue.
    pub queue: Option<String>,
    pub retries: i32,
    pub timeout_seconds: i64,
    /// How long the Job stays after its end.
    pub log_life: Duration,
}

/// Checks a TrainingJob and settles everything that the operator needs to know of it.
///
/// # Errors
/// [`Error::Training`] with the first thing that is wrong; [`Error::Unstored`].
pub fn validate(training: &TrainingJob, catalogue: &Catalogue) -> Result<ValidTraining, Error> {
    let owner = Owner::of(training, Component::Train).ok_or(Error::Unstored)?;
    let spec = &training.spec;
    blocks(spec)?;
    numbers(spec)?;
    let wanted = Wanted {
        instance_type: spec.instance_type.as_deref(),
        resources: spec.resources.as_ref(),
        claims: &spec.resource_claims,
        node_selector: &spec.node_selector,
        tolerations: &spec.tolerations,
        priority_class_name: spec.priority_class_name.as_deref(),
        device: spec.device,
    };
    let named =
        spec.concepts.iter().flat_map(|concept| [Some(&concept.dataset), concept.class_dataset.as_ref()]);
    let datasets: BTreeSet<String> = named.flatten().map(|dataset| dataset.name.clone()).collect();
    Ok(ValidTraining {
        owner,
        generation: training.metadata.generation.unwrap_or(0),
        placement: place(&wanted, catalogue).map_err(InvalidTraining::from)?,
        base: spec.base_model.name.clone(),
        datasets: datasets.into_iter().collect(),
        output: Output {
            model: spec.output.model_name.clone(),
            display_name: spec.output.display_name.clone(),
            model_type: makes(spec.method),
        },
        suspended: spec.suspend,
        queue: spec.queue_name.clone(),
        retries: i32::try_from(spec.retries).unwrap_or(i32::MAX),
        timeout_seconds: i64::from(spec.timeout_seconds),
        log_life: Duration::from_secs(u64::from(spec.ttl_seconds_after_finished)),
    })
}

/// Type of the Model that a method makes.
fn makes(method: TrainingMethod) -> ModelType {
    match method {
        TrainingMethod::Lora => ModelType::Lora,
        TrainingMethod::DreamBooth | TrainingMethod::FullFineTune => ModelType::Checkpoint,
        TrainingMethod::TextualInversion => ModelType::TextualInversion,
        TrainingMethod::Hypernetwork => ModelType::Hypernetwork,
    }
}

/// Only the method's own block may be there.
fn blocks(spec: &TrainingJobSpec) -> Result<(), InvalidTraining> {
    let method = spec.method;
    let blocks = [
        ("lora", "Lora", spec.lora.is_some(), method == TrainingMethod::Lora),
        (
            "textualInversion",
            "TextualInversion",
            spec.textual_inversion.is_some(),
            method == TrainingMethod::TextualInversion,
        ),
        ("hypernetwork", "Hypernetwork", spec.hypernetwork.is_some(), method == TrainingMethod::Hypernetwork),
    ];
    for (block, of, there, fits) in blocks {
        if there && !fits {
            return Err(InvalidTraining::Block { block, of, method });
        }
    }
    if method == TrainingMethod::TextualInversion && spec.textual_inversion.is_none() {
        return Err(InvalidTraining::NoToken);
    }
    Ok(())
}

/// What a decimal may be.
#[derive(Clone, Copy)]
enum Range {
    Positive,
    /// From 0 to 1.
    Fraction,
}

fn numbers(spec: &TrainingJobSpec) -> Result<(), InvalidTraining> {
    let h: &Hyperparameters = &spec.hyperparameters;
    if h.steps.is_some() == h.epochs.is_some() {
        return Err(InvalidTraining::Length);
    }
    let dropout = spec.lora.as_ref().map(|lora| &lora.dropout);
    let numbers = [
        ("spec.hyperparameters.learningRate", Some(&h.learning_rate), Range::Positive),
        (
            "spec.hyperparameters.textEncoderLearningRate",
            h.text_encoder_learning_rate.as_ref(),
            Range::Positive,
        ),
        ("spec.hyperparameters.weightDecay", Some(&h.weight_decay), Range::Fraction),
        ("spec.hyperparameters.maxGradientNorm", Some(&h.max_gradient_norm), Range::Positive),
        ("spec.hyperparameters.priorLossWeight", Some(&h.prior_loss_weight), Range::Fraction),
        ("spec.hyperparameters.noiseOffset", Some(&h.noise_offset), Range::Fraction),
        ("spec.hyperparameters.minSnrGamma", h.min_snr_gamma.as_ref(), Range::Positive),
        ("spec.lora.dropout", dropout, Range::Fraction),
    ];
    for (field, text, range) in numbers {
        let Some(text) = text else { continue };
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
        let (fits, wanted) = match range {
            Range::Positive => (number.is_some_and(|n| n > 0.0), "greater than 0"),
            Range::Fraction => (number.is_some_and(|n| (0.0..=1.0).contains(&n)), "between 0 and 1"),
        };
        if !fits {
            return Err(InvalidTraining::Number { field, value: text.clone(), wanted });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::build::testing::training;

    fn check(spec: &str) -> Result<ValidTraining, String> {
        let catalogue = Catalogue::load(None).unwrap();
        validate(&training(spec), &catalogue).map_err(|error| {
            assert!(!error.retriable());
            format!("{}: {error}", error.reason())
        })
    }

    #[test]
    fn a_wrong_spec_is_refused_with_the_remedy() {
        let hyper = |field: &str| format!("hyperparameters: {{steps: 1, resolution: 512, {field}}}");
        let cases = [
            ("instanceType: ml.g4dn.2xl".to_owned(), "UnknownInstanceType: spec.instanceType ml.g4dn.2xl"),
            (
                hyper("learningRate: \"0\""),
                "InvalidHyperparameters: spec.hyperparameters.learningRate is \"0\"",
            ),
            (hyper("learningRate: \"1e-400\""), "InvalidHyperparameters: spec.hyperparameters.learningRate"),
            (
                hyper("minSnrGamma: \"inf\""),
                "InvalidHyperparameters: spec.hyperparameters.minSnrGamma is \"inf\"",
            ),
            (
                hyper("noiseOffset: \"1.5\""),
                "InvalidHyperparameters: spec.hyperparameters.noiseOffset is \"1.5\"",
            ),
            (hyper("epochs: 1"), "InvalidHyperparameters: spec.hyperparameters must set exactly one"),
            ("lora: {dropout: \"2\"}".to_owned(), "InvalidHyperparameters: spec.lora.dropout is \"2\""),
            (
                "hypernetwork: {}".to_owned(),
                "InvalidMethod: spec.hypernetwork is for method Hypernetwork only",
            ),
            (
                "method: TextualInversion".to_owned(),
                "InvalidMethod: spec.textualInversion must name the token",
            ),
        ];
        for (spec, start) in cases {
            let error = check(&spec).expect_err(&spec);
            assert!(error.starts_with(start), "{error}");
        }
    }

    #[test]
    fn each_method_makes_its_type_of_model() {
        let cases = [
            ("method: Lora", ModelType::Lora),
            ("method: DreamBooth", ModelType::Checkpoint),
            ("method: FullFineTune", ModelType::Checkpoint),
            ("{method: TextualInversion, textualInversion: {token: zorb}}", ModelType::TextualInversion),
            ("{method: Hypernetwork, hypernetwork: {}}", ModelType::Hypernetwork),
        ];
        for (spec, want) in cases {
            assert_eq!(check(spec).expect(spec).output.model_type, want, "{spec}");
        }
    }

    #[test]
    fn every_dataset_is_named_once() {
        let spec = "concepts: [{dataset: {name: b}, instancePrompt: p, classPrompt: c, classDataset: {name: a}}, \
                    {dataset: {name: b}, instancePrompt: q}]";
        assert_eq!(check(spec).unwrap().datasets, ["a", "b"]);
    }
}
