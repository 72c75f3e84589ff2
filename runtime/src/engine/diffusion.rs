//! The real engine: `easel_diffusion` behind the traits of [`super::api`].

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use easel_diffusion::{LoadOptions, Observer, Picture, Pipeline, Progress, Request, Sampler, Surroundings};
use easel_protocol::{GenerationRequest, NetworkKind, Task};

use super::api::{Engine, EngineError, LoadedModel, LoadedNetwork, ModelLabel, NamedNetwork, OnProgress};
use super::networks::{Network, Scene};
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

    fn load_network(
        &self,
        path: &Path,
        kind: NetworkKind,
        label: &ModelLabel,
    ) -> Result<Arc<dyn LoadedNetwork>, EngineError> {
        Ok(Arc::new(Network::load(path, kind, label)?))
    }
}

impl LoadedModel for Model {
    fn weight_bytes(&self) -> u64 {
        self.pipeline.weight_bytes()
    }

    fn kept_bytes(&self) -> u64 {
        self.pipeline.kept_variant_bytes()
    }

    fn shrink(&self, most: u64) {
        self.pipeline.shrink_variants(most);
    }

    fn generate(
        &self,
        request: &GenerationRequest,
        networks: &[NamedNetwork],
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Vec<Picture>, EngineError> {
        let first = translate(request)?;
        let Scene { library, vae } = Scene::new(&self.pipeline, networks)?;
        let around = Surroundings { library: Some(&library), vae: vae.as_ref(), ..Surroundings::default() };
        let batches = Batches { steps: request.steps, count: request.batch_count };
        let mut watch = Watch { batches, batch: 0, stopped: false, on_progress };
        let mut pictures = Vec::new();
        for batch in 0..request.batch_count {
            let offset = u64::from(batch) * u64::from(request.batch_size);
            let text = Request { seed: request.seed.wrapping_add(offset), ..first.clone() };
            watch.batch = batch;
            match self.pipeline.generate_with(around, &text, &mut watch) {
                // Whatever the engine calls it, it ended because it was told to.
                Err(_) if watch.stopped => return Err(EngineError::Stopped),
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

/// Passes the progress of one batch on as that of all.
struct Watch<'a, 'b> {
    batches: Batches,
    batch: u32,
    /// It was told to stop.
    stopped: bool,
    on_progress: &'a mut OnProgress<'b>,
}

impl Observer for Watch<'_, '_> {
    fn progress(&mut self, progress: Progress) -> ControlFlow<()> {
        let flow = (self.on_progress)(self.batches.overall(progress, self.batch));
        self.stopped |= flow.is_break();
        flow
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

    /// The facade reads prompts with the protocol's eyes, the engine with its own: what one of them sees, the other must.
    #[test]
    fn the_engine_finds_the_same_networks_in_a_prompt_as_the_protocol() {
        use easel_diffusion::text::{ExtraNetworkKind, Pass, PlanOptions, PromptPlan, Role};
        use easel_protocol::networks::prompt_networks;
        let prompts = [
            "a <lora:x>b",
            "<lyco: a b-c.1 :-1> <hypernet:h:0.4>",
            "<lora:b:1> <lora:a:1:0.5:8> <lora:b:2>",
            "<lora:x:te=0.2:unet=0.3:dyn=4:other=y>",
            "<lora:x:te=a> <lora:y:unet=> <lora:z:dyn=-1> <lora:w:1:free=:2>",
            "<depth:b:c> <lora:x:1",
            "<lora:> <lora::1> <lora> < lora:x> <lora :x> <lo-ra:x> <lora_2:x>",
            "<lora:x:abc> <lora:x:inf> <lora:x:NaN> <lora:x:1:1:-2> <lora:x:+1> <lora:x: 1 >",
            "<lora:x:1:1:1:free> <lora:x:> <hypernet:x:1:bad> <hypernet:y:1:2:3:4:5>",
            "<a <lora:x:1> > <<lora:y>> <lora:<lora:z:1>",
            "# <lora:x>\n<lora:y># <lora:z>\r\n<lora:w\n:1>",
            "<LORA:x> <Lyco:y> <λ:x> <lora:ü:1> <1:2> <:x> <|endoftext|>",
            "[<lora:a:1>:<lora:b:1>:0.5] (<lora:c>:1.2) \\<lora:d:1\\> AND <lora:e>",
            "> < > <lora:x>>",
            "",
        ];
        for prompt in prompts {
            let pass = Pass::First { steps: 1 };
            let plan =
                PromptPlan::new(prompt, &PlanOptions { role: Role::Positive, pass, strip_comments: true });
            let mut engine: Vec<(NetworkKind, &str)> = Vec::new();
            for network in plan.networks() {
                let kind = match network.kind {
                    ExtraNetworkKind::Lora => NetworkKind::Lora,
                    ExtraNetworkKind::Hypernet => NetworkKind::Hypernetwork,
                };
                if !engine.contains(&(kind, network.name.as_str())) {
                    engine.push((kind, network.name.as_str()));
                }
            }
            let tags = prompt_networks(prompt);
            let protocol: Vec<_> = tags.iter().map(|tag| (tag.kind, tag.name.as_str())).collect();
            assert_eq!(protocol, engine, "{prompt}");
        }
    }

    /// What the engine would take for an embedding's name, the facade must not miss.
    #[test]
    fn the_protocol_hears_every_word_that_the_engine_finds() {
        use easel_diffusion::text::{Embedding, EmbeddingSet};
        let words =
            ["sks dog", "Bad-Hands_5", "style (v2)", "a:b", "ÉCLAIR", "x.y", "1girl!", "<s>", "50%", "日本"];
        let texts = [
            "sks  DOG,",
            "(bad-hands_5:1.2)",
            "style (v2)",
            "[A:B:0.5] a:b",
            "éclair",
            "x.Y",
            "1GIRL!",
            "<S>",
            "50%",
            "日 本 日本",
            "sksdog",
            "badhands5",
        ];
        let header = r#"{"emb_params":{"dtype":"F32","shape":[1,4],"data_offsets":[0,16]}}"#;
        let file = tempfile::NamedTempFile::new().unwrap();
        let length = (header.len() as u64).to_le_bytes();
        std::fs::write(file.path(), [&length[..], header.as_bytes(), &[0; 16]].concat()).unwrap();
        for word in words {
            let embedding = Embedding::load(file.path(), word).unwrap();
            let mut set = EmbeddingSet::default();
            set.insert(Arc::new(embedding)).unwrap();
            for text in texts {
                let found = !set.named_in(text).is_empty();
                let heard = easel_protocol::networks::SpokenText::of(&[text]).says(word);
                assert!(heard || !found, "{word} in {text}");
            }
        }
    }

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
