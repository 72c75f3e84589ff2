//! A whole prompt: what it brings in, what it is made of, and what counts at which step.

use std::collections::HashMap;

use candle_core::{Result as TensorResult, Tensor};

use super::chunk_cache::ChunkCache;
use super::encoder::{Conditioning, TextEncoders};
use super::error::TextError;
use super::grammar::{
    ExtraNetwork, Pass, ScheduleStep, Subprompt, extract_networks, prompt_schedule, split_and, strip_comments,
};
use super::options::{EncodeOptions, TextStyle};

/// Which of a request's prompts it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Tags and `AND` count.
    Positive,
    /// Neither does, as in A1111. SDXL reads an empty one as zeros.
    Negative,
}

/// How a prompt is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanOptions {
    pub role: Role,
    /// What numbers of steps mean.
    pub pass: Pass,
    /// Remove `#` and what follows it on a line; A1111's default.
    pub strip_comments: bool,
}

/// One of the prompts that `AND` joins, over the steps.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanPart {
    pub weight: f32,
    /// Never empty.
    pub schedule: Vec<ScheduleStep>,
}

/// A prompt taken apart; no network is needed for it.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptPlan {
    networks: Vec<ExtraNetwork>,
    unknown_networks: Vec<String>,
    parts: Vec<PlanPart>,
    role: Role,
}

impl PromptPlan {
    /// Takes a prompt apart. Every string is a prompt.
    pub fn new(prompt: &str, options: &PlanOptions) -> Self {
        let bare = if options.strip_comments { strip_comments(prompt) } else { prompt.to_owned() };
        let part = |one: Subprompt| PlanPart {
            weight: one.weight,
            schedule: prompt_schedule(one.text, options.pass),
        };
        let role = options.role;
        match role {
            Role::Positive => {
                let extracted = extract_networks(&bare);
                let parts = split_and(&extracted.text).into_iter().map(part).collect();
                Self { networks: extracted.networks, unknown_networks: extracted.unknown, parts, role }
            }
            Role::Negative => {
                let parts = vec![part(Subprompt { text: &bare, weight: 1.0 })];
                Self { networks: Vec::new(), unknown_networks: Vec::new(), parts, role }
            }
        }
    }

    /// Networks that the prompt asks for, in its order.
    pub fn networks(&self) -> &[ExtraNetwork] {
        &self.networks
    }

    /// Words of tags that name no known kind of network.
    pub fn unknown_networks(&self) -> &[String] {
        &self.unknown_networks
    }

    /// At least one; each costs a pass of the UNet in every step.
    pub fn parts(&self) -> &[PlanPart] {
        &self.parts
    }

    /// Encodes everything, each distinct chunk of text once.
    ///
    /// # Errors
    /// The prompt names an embedding of another family, or the arithmetic failed.
    pub fn encode(
        &self,
        encoders: &TextEncoders,
        options: &EncodeOptions,
    ) -> Result<ScheduledConditioning, TextError> {
        let mut cache = ChunkCache::new(encoders, *options);
        let mut schedules = HashMap::new();
        let mut tracks = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let texts: Vec<&str> = part.schedule.iter().map(|step| step.text.as_str()).collect();
            let conditionings = match schedules.get(&texts) {
                Some(done) => Vec::clone(done),
                None if self.reads_as_zeros(encoders, &texts) => vec![encoders.zeros()?; texts.len()],
                None => cache.encode_schedule(&texts)?,
            };
            tracks.push(Track { part, conditionings: conditionings.clone() });
            schedules.insert(texts, conditionings);
        }
        level(&mut tracks).map_err(TextError::tensor)?;
        Ok(ScheduledConditioning::join(&tracks))
    }

    /// `force_zero_embeddings` of A1111's `modules/sd_models_xl.py`.
    fn reads_as_zeros(&self, encoders: &TextEncoders, texts: &[&str]) -> bool {
        self.role == Role::Negative
            && matches!(encoders.style(), TextStyle::Sdxl | TextStyle::SdxlRefiner)
            && texts.iter().all(|text| text.is_empty())
    }
}

/// A part and what its texts became.
struct Track<'a> {
    part: &'a PlanPart,
    conditionings: Vec<Conditioning>,
}

impl Track<'_> {
    /// What counts up to the step `end`.
    fn until(&self, end: usize) -> Option<(f32, Conditioning)> {
        let at = self.part.schedule.iter().position(|step| end <= step.end_at_step);
        let found = self.conditionings.get(at.unwrap_or(self.conditionings.len().saturating_sub(1)))?;
        Some((self.part.weight, found.clone()))
    }
}

/// What the UNet reads, step by step.
#[derive(Debug, Clone)]
pub struct ScheduledConditioning {
    /// The last step of each entry, ascending.
    entries: Vec<(usize, Vec<(f32, Conditioning)>)>,
}

impl ScheduledConditioning {
    /// What counts for every step, from one text.
    pub fn constant(conditioning: Conditioning) -> Self {
        Self { entries: vec![(usize::MAX, vec![(1.0, conditioning)])] }
    }

    /// Weights and conditionings of all parts at a step, all of one length. `step` counts the calls of the
    /// model from 0; as in A1111 the first text lasts one call longer than its number of steps says, since
    /// schedules count from 1. Beyond the last step the last entry counts.
    pub fn at(&self, step: usize) -> &[(f32, Conditioning)] {
        let found = self.entries.iter().find(|(end, _)| step <= *end).or(self.entries.last());
        found.map_or(&[], |(_, parts)| parts)
    }

    /// Is it the same at every step?
    pub fn is_constant(&self) -> bool {
        self.entries.len() == 1
    }

    fn join(tracks: &[Track]) -> Self {
        let mut ends: Vec<usize> =
            tracks.iter().flat_map(|track| &track.part.schedule).map(|step| step.end_at_step).collect();
        ends.sort_unstable();
        ends.dedup();
        let parts = |end: usize| tracks.iter().filter_map(|track| track.until(end)).collect();
        Self { entries: ends.into_iter().map(|end| (end, parts(end))).collect() }
    }
}

/// Gives all parts the length of the longest by repeating their last token, as A1111's `stack_conds`. Equal
/// texts go on sharing their tensor.
fn level(tracks: &mut [Track]) -> TensorResult<()> {
    let mut longest = 0;
    for one in tracks.iter().flat_map(|track| &track.conditionings) {
        longest = longest.max(one.context.dim(1)?);
    }
    let mut filled = HashMap::new();
    for one in tracks.iter_mut().flat_map(|track| &mut track.conditionings) {
        let (batch, length, width) = one.context.dims3()?;
        if length == longest {
            continue;
        }
        let id = one.context.id();
        if let Some(context) = filled.get(&id) {
            one.context = Tensor::clone(context);
            continue;
        }
        let last = one.context.narrow(1, length - 1, 1)?;
        let fill = last.broadcast_as((batch, longest - length, width))?;
        one.context = Tensor::cat(&[&one.context, &fill], 1)?;
        filled.insert(id, one.context.clone());
    }
    Ok(())
}
