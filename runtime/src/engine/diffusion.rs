//! The real engine: `easel_diffusion` behind the traits of [`super::api`].

use std::path::Path;
use std::sync::Arc;

use easel_diffusion::{LoadOptions, Picture, Pipeline, Progress, Sampler, Stage, TextToImage};
use easel_protocol::{GenerationRequest, Task};

use super::api::{Engine, EngineError, LoadedModel, ModelLabel, OnProgress, StepProgress};

/// Runs models on this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiffusionEngine {
    /// What the process may use; a request that would take more is refused before the kernel kills the process.
    /// `None`: not known, nothing is refused.
    pub memory_limit_bytes: Option<u64>,
}

struct Model {
    pipeline: Pipeline,
    memory_limit_bytes: Option<u64>,
}

impl Engine for DiffusionEngine {
    fn load(&self, path: &Path, label: &ModelLabel) -> Result<Arc<dyn LoadedModel>, EngineError> {
        let options = LoadOptions {
            name: Some(label.file_name.clone()),
            sha256: label.sha256.clone(),
            ..LoadOptions::default()
        };
        let pipeline = Pipeline::load(path, &options).map_err(|error| {
            EngineError::failed(error.reason(), crate::error::chain(&error), error.retriable())
        })?;
        Ok(Arc::new(Model { pipeline, memory_limit_bytes: self.memory_limit_bytes }))
    }
}

impl LoadedModel for Model {
    fn weight_bytes(&self) -> u64 {
        self.pipeline.weight_bytes()
    }

    fn generate(
        &self,
        request: &GenerationRequest,
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Vec<Picture>, EngineError> {
        let first = translate(request)?;
        self.check(&first)?;
        let mut pictures = Vec::new();
        for batch in 0..request.batch_count {
            let offset = u64::from(batch) * u64::from(request.batch_size);
            let text = TextToImage { seed: request.seed.wrapping_add(offset), ..first.clone() };
            let mut stopped = false;
            let result = self.pipeline.generate(&text, &mut |progress| {
                let flow = on_progress(overall(progress, batch, request));
                stopped |= flow.is_break();
                flow
            });
            match result {
                // Whatever the engine calls it, it ended because it was told to.
                Err(_) if stopped => return Err(EngineError::Stopped),
                Err(error) => {
                    let message = crate::error::chain(&error);
                    return Err(EngineError::failed(error.reason(), message, error.retriable()));
                }
                Ok(batch) => pictures.extend(batch),
            }
        }
        Ok(pictures)
    }
}

impl Model {
    fn check(&self, request: &TextToImage) -> Result<(), EngineError> {
        self.pipeline.validate(request).map_err(|error| {
            EngineError::failed(error.reason(), crate::error::chain(&error), error.retriable())
        })?;
        let need = self.pipeline.estimate_bytes(request);
        match self.memory_limit_bytes {
            Some(limit) if need > limit => {
                let message = format!(
                    "{}x{} pixels in batches of {} need about {need} bytes of memory, the limit is {limit}; ask \
                     for smaller pictures or batches, or give the endpoint more memory",
                    request.width, request.height, request.batch_size
                );
                Err(EngineError::failed("NotEnoughMemory", message, false))
            }
            _ => Ok(()),
        }
    }
}

/// Steps of all batches as one count.
fn overall(progress: Progress, batch: u32, request: &GenerationRequest) -> StepProgress {
    let stage = match progress.stage {
        Stage::Encode => "Encoding",
        Stage::Denoise => "Denoising",
        Stage::Decode => "Decoding",
    };
    let done_before = batch.saturating_mul(request.steps);
    let within = match progress.stage {
        Stage::Encode => 0,
        // A sampler may take more or fewer steps than asked for.
        Stage::Denoise => scaled(progress.step, progress.total, request.steps),
        Stage::Decode => request.steps,
    };
    let total = request.steps.saturating_mul(request.batch_count);
    StepProgress { stage, step: done_before.saturating_add(within), total }
}

/// `step` of `total` as a count of `steps`.
fn scaled(step: u32, total: u32, steps: u32) -> u32 {
    if total == 0 {
        return steps;
    }
    let share = u64::from(step) * u64::from(steps) / u64::from(total);
    u32::try_from(share).unwrap_or(steps).min(steps)
}

/// The engine's form of one batch.
fn translate(request: &GenerationRequest) -> Result<TextToImage, EngineError> {
    match request.task {
        Task::TextToImage => {}
    }
    let sampler = Sampler::parse(request.sampler.name())
        .map(|(sampler, _)| sampler)
        .map_err(|error| EngineError::failed("UnknownSampler", error.to_string(), false))?;
    let schedule = easel_diffusion::Schedule::parse(request.schedule.name())
        .map_err(|error| EngineError::failed("UnknownSchedule", error.to_string(), false))?;
    Ok(TextToImage {
        prompt: request.prompt.clone(),
        negative_prompt: request.negative_prompt.clone(),
        width: request.width,
        height: request.height,
        steps: request.steps,
        guidance_scale: request.guidance_scale as f32,
        sampler,
        schedule,
        seed: request.seed,
        batch_size: request.batch_size,
        clip_skip: request.clip_skip,
        eta: request.eta.map(|eta| eta as f32),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both tables are read by name, so that a sampler of one that the other lacks is found here.
    #[test]
    fn the_engine_knows_every_name_of_the_protocol() {
        for name in easel_protocol::Sampler::known_names() {
            let (sampler, schedule) = easel_protocol::Sampler::parse(name).expect("its own name");
            let (engine, implied) = Sampler::parse(name).expect("a sampler of the engine");
            assert_eq!(engine.name(), sampler.name(), "{name}");
            let implied = implied.unwrap_or_default();
            assert_eq!(implied.name(), schedule.name(), "{name}");
        }
        assert_eq!(easel_protocol::Sampler::all().count(), Sampler::all().count());
        for schedule in easel_protocol::Schedule::all() {
            let engine = easel_diffusion::Schedule::parse(schedule.name()).expect("a schedule of the engine");
            assert_eq!(engine.name(), schedule.name());
        }
        assert_eq!(easel_protocol::Schedule::all().count(), easel_diffusion::Schedule::all().count());
    }

    #[test]
    fn progress_counts_the_steps_that_were_asked_for() {
        for (step, total, want) in [(0, 8, 0), (4, 8, 10), (8, 8, 20), (19, 19, 20), (3, 0, 20), (40, 30, 20)]
        {
            assert_eq!(scaled(step, total, 20), want, "{step} of {total}");
        }
    }
}
