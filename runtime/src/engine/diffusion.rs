//! The real engine: `easel_diffusion` behind the traits of [`super::api`].

use std::path::Path;
use std::sync::Arc;

use easel_diffusion::{LoadOptions, Picture, Pipeline, Request, Sampler};
use easel_protocol::{GenerationRequest, Task};

use super::api::{Engine, EngineError, LoadedModel, ModelLabel, OnProgress};
use super::progress::Batches;

/// Runs models on this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiffusionEngine {
    /// What the process may use; a request that would take more is refused before the kernel kills the process.
    /// `None`: not known, nothing is refused.
    pub memory_limit_bytes: Option<u64>,
}

struct Model {
    pipeline: Pipeline,
}

impl Engine for DiffusionEngine {
    fn load(&self, path: &Path, label: &ModelLabel) -> Result<Arc<dyn LoadedModel>, EngineError> {
        let options = LoadOptions {
            name: Some(label.file_name.clone()),
            sha256: label.sha256.clone(),
            memory_limit_bytes: self.memory_limit_bytes,
            ..LoadOptions::default()
        };
        let pipeline = Pipeline::load(path, &options).map_err(|error| {
            EngineError::failed(error.reason(), crate::error::chain(&error), error.retriable())
        })?;
        Ok(Arc::new(Model { pipeline }))
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
        let batches = Batches { steps: request.steps, count: request.batch_count };
        let mut pictures = Vec::new();
        for batch in 0..request.batch_count {
            let offset = u64::from(batch) * u64::from(request.batch_size);
            let text = Request { seed: request.seed.wrapping_add(offset), ..first.clone() };
            let mut stopped = false;
            let result = self.pipeline.generate(&text, &mut |progress| {
                let flow = on_progress(batches.overall(progress, batch));
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

/// The engine's form of one batch.
fn translate(request: &GenerationRequest) -> Result<Request, EngineError> {
    match request.task {
        Task::TextToImage => {}
    }
    let sampler = Sampler::parse(request.sampler.name())
        .map(|(sampler, _)| sampler)
        .map_err(|error| EngineError::failed("UnknownSampler", error.to_string(), false))?;
    let schedule = easel_diffusion::Schedule::parse(request.schedule.name())
        .map_err(|error| EngineError::failed("UnknownSchedule", error.to_string(), false))?;
    Ok(Request {
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
        ..Request::default()
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
}
