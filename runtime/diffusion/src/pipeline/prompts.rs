//! What the model is told, from one evaluation to the next.

use crate::samplers::Sampler;
use crate::text::{
    Conditioning, EncodeOptions, Pass, PlanOptions, PromptPlan, Role, ScheduledConditioning, TextEncoders,
    TextError,
};

use super::request::{Hires, Request};

/// Prompts of a pass, taken apart; no network was needed for it.
#[derive(Debug)]
pub(super) struct Plans {
    pub positive: PromptPlan,
    pub negative: PromptPlan,
}

impl Plans {
    /// Of the first pass, or of the second. Steps in prompts count evaluations, as A1111 does for
    /// samplers of second order.
    pub fn new(request: &Request, hires: Option<&Hires>) -> Self {
        let evaluations =
            |sampler: Sampler, steps: u32| sampler.entry().evaluations.saturating_mul(steps) as usize;
        let first = evaluations(request.sampler, request.steps);
        let pass = match hires {
            None => Pass::First { steps: first },
            Some(hires) => {
                let sampler = hires.sampler.unwrap_or(request.sampler);
                let steps = evaluations(sampler, hires.steps.unwrap_or(request.steps));
                Pass::Hires { first_steps: first, steps }
            }
        };
        let prompt = hires.and_then(|h| h.prompt.as_deref()).unwrap_or(&request.prompt);
        let negative = hires.and_then(|h| h.negative_prompt.as_deref()).unwrap_or(&request.negative_prompt);
        let plan =
            |text: &str, role| PromptPlan::new(text, &PlanOptions { role, pass, strip_comments: true });
        Self { positive: plan(prompt, Role::Positive), negative: plan(negative, Role::Negative) }
    }

    /// # Errors
    /// A prompt names an embedding of another family, or the arithmetic failed.
    pub fn encode(&self, encoders: &TextEncoders, options: &EncodeOptions) -> Result<Prompts, TextError> {
        Ok(Prompts {
            positive: self.positive.encode(encoders, options)?,
            negative: self.negative.encode(encoders, options)?,
        })
    }
}

fn planned(text: &str, role: Role, pass: Pass) -> PromptPlan {
    PromptPlan::new(text, &PlanOptions { role, pass, strip_comments: true })
}

/// How many prompts `AND` joins; asked of requests that were not checked, so whatever their steps are.
pub(super) fn parts(request: &Request) -> usize {
    planned(&request.prompt, Role::Positive, Pass::First { steps: 1 }).parts().len()
}

/// Encoded prompts of a pass.
#[derive(Debug)]
pub(super) struct Prompts {
    positive: ScheduledConditioning,
    negative: ScheduledConditioning,
}

impl Prompts {
    /// Parts of the prompt with their weights at the `evaluation`-th call of the model; at least one.
    pub fn positive(&self, evaluation: usize) -> &[(f32, Conditioning)] {
        self.positive.at(evaluation)
    }

    /// A negative prompt has one part.
    pub fn negative(&self, evaluation: usize) -> Option<&Conditioning> {
        self.negative.at(evaluation).first().map(|(_, conditioning)| conditioning)
    }
}
