//! From a request to pictures.

use std::ops::ControlFlow;

use candle_core::Tensor;

use crate::output::infotext;
use crate::random::{BrownianNoise, LatentNoise, NoiseSource};
use crate::samplers::{Options, Plan, World};
use crate::text::EncodeOptions;

use super::error::GenerateError;
use super::guidance::GuidedModel;
use super::load::Pipeline;
use super::picture::{Picture, to_rgb};
use super::progress::{OnProgress, Progress, Stage};
use super::request::{RequestError, TextToImage};

impl Pipeline {
    /// Checks a request against its own limits and this model's.
    ///
    /// # Errors
    /// The first value out of its limits.
    pub fn validate(&self, request: &TextToImage) -> Result<(), RequestError> {
        request.validate()?;
        let layers = self.base.text.clip().config().layers as u32;
        if request.clip_skip > layers {
            return Err(RequestError::ClipSkipOfModel { value: request.clip_skip, layers });
        }
        Ok(())
    }

    /// Makes the pictures of a request; `on_progress` is called before the first and after every step,
    /// and ends the work by returning `Break`.
    ///
    /// The same request gives the same bytes, and a picture is the same alone and in a batch.
    ///
    /// # Errors
    /// The request is refused, it was cancelled, or the model gave values that are not finite.
    pub fn generate(
        &self,
        request: &TextToImage,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Picture>, GenerateError> {
        self.validate(request)?;
        let latents = self.denoise(request, on_progress)?;
        self.decode(request, &latents, on_progress)
    }

    /// The latents at the end of sampling, `[batch, channels, height/8, width/8]`.
    ///
    /// # Errors
    /// As for [`Pipeline::generate`].
    pub fn denoise(
        &self,
        request: &TextToImage,
        on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Tensor, GenerateError> {
        self.validate(request)?;
        let at = |stage| move |source| GenerateError::Tensor { stage, source };
        report(on_progress, Stage::Encode, 0, 1)?;
        let options = EncodeOptions { clip_skip: request.clip_skip as usize, ..EncodeOptions::default() };
        let cond = self.base.text.encode(&request.prompt, &options)?;
        let uncond = if request.guidance_scale == 1.0 {
            None
        } else {
            Some(self.base.text.encode(&request.negative_prompt, &options)?)
        };
        report(on_progress, Stage::Encode, 1, 1)?;

        let scale = self.base.vae.config().downscale();
        let channels = self.base.vae.config().latent_channels;
        let shape = (channels, request.height as usize / scale, request.width as usize / scale);
        let mut runs = Vec::new();
        for seeds in request.runs() {
            let plan = Plan {
                options: Options { eta: request.eta, ..Options::default() },
                ..Plan::new(&self.table, request.steps as usize, request.schedule)
            };
            let mut steps = request.sampler.start(&plan);
            let noise = LatentNoise::new(&seeds, shape);
            let brownian = steps
                .noise_range()
                .map(|range| BrownianNoise::new(&seeds, shape, NoiseSource::default(), range));
            let mut world = GuidedModel::new(
                &self.base.unet,
                &self.table,
                cond.clone(),
                uncond.clone(),
                request.guidance_scale,
                noise,
                brownian,
            );
            let mut x = world.noise().and_then(|n| steps.noised(None, &n)).map_err(at(Stage::Denoise))?;
            report(on_progress, Stage::Denoise, 0, steps.len() as u32)?;
            let mut index = 0;
            while !steps.is_done(index) {
                x = steps.step(index, &x, &mut world).map_err(at(Stage::Denoise))?;
                index += 1;
                report(on_progress, Stage::Denoise, index as u32, steps.len() as u32)?;
            }
            runs.push(x);
        }
        Tensor::cat(&runs, 0).map_err(at(Stage::Denoise))
    }

    /// Decodes one picture at a time, which bounds the memory by that of one.
    fn decode(
        &self,
        request: &TextToImage,
        latents: &Tensor,
        on_progress: OnProgress,
    ) -> Result<Vec<Picture>, GenerateError> {
        let failed = |source| GenerateError::Tensor { stage: Stage::Decode, source };
        report(on_progress, Stage::Decode, 0, request.batch_size)?;
        let mut pictures = Vec::new();
        for (i, seed) in request.seeds().into_iter().enumerate() {
            let latent = latents.narrow(0, i, 1).and_then(|l| l.contiguous()).map_err(failed)?;
            if !all_finite(&latent).map_err(failed)? {
                return Err(GenerateError::NotFinite { stage: Stage::Denoise, seed });
            }
            let decoded = self.base.vae.decode(&latent).map_err(failed)?;
            let rgb = to_rgb(&decoded)
                .map_err(failed)?
                .ok_or(GenerateError::NotFinite { stage: Stage::Decode, seed })?;
            let infotext = infotext(request, &self.options, seed);
            pictures.push(Picture { rgb, seed, infotext });
            report(on_progress, Stage::Decode, i as u32 + 1, request.batch_size)?;
        }
        Ok(pictures)
    }
}

fn all_finite(x: &Tensor) -> candle_core::Result<bool> {
    Ok(x.flatten_all()?.to_vec1::<f32>()?.iter().all(|v| v.is_finite()))
}

fn report(on_progress: OnProgress, stage: Stage, step: u32, total: u32) -> Result<(), GenerateError> {
    match on_progress(Progress { stage, step, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(GenerateError::Cancelled),
    }
}
