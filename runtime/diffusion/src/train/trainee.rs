//! A model in training.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::config::ModelVariant;
use crate::inspect::Family;
use crate::pipeline::{LoadOptions, Networks, Pipeline};
use crate::text::{Conditioning, Embedding, EmbeddingSet};
use crate::unet::{Direct, UnetInput, Walk, added_embedding};
use crate::vae::VaeError;
use crate::weights::Dropout;

use super::batch::{Batch, Captions, MicroConditions};
use super::error::TrainError;
use super::method::Method;
use super::objective::{Noising, Objective, weighed_loss};
use super::plan::{Group, NamedVar, Output, Plan};
use super::recompute::{GradientCheckpointing, Recorder};
use super::{full, hypernetwork, inversion, lora};

/// A model, its variables, and the networks that compute with them.
///
/// The variables' memory is that of the networks: [`candle_core::Var::set`] changes what the next loss and
/// the next picture see.
#[derive(Debug)]
pub struct Trainee {
    /// Draws with the present weights; keeps no graph.
    pub(super) pipeline: Pipeline,
    networks: Networks,
    variables: Vec<NamedVar>,
    dropout: Option<Arc<Dropout>>,
    /// Words whose vectors are trained, with and without a graph.
    embeddings: EmbeddingSet,
    plain_embeddings: EmbeddingSet,
    plain_embedding: Option<Arc<Embedding>>,
    pub(super) output: Output,
    objective: Objective,
    checkpointing: GradientCheckpointing,
}

impl Trainee {
    /// Loads `base` and makes the method's variables, whose first values the seed decides; the objective is
    /// the plain one.
    ///
    /// # Errors
    /// The model cannot be loaded, cannot be trained by this method, or an option is out of its limits.
    pub fn new(base: &Path, method: &Method, seed: u64) -> Result<Self, TrainError> {
        Self::with_objective(base, method, Objective::default(), seed)
    }

    /// As [`Trainee::new`], with another objective.
    ///
    /// # Errors
    /// As there.
    pub fn with_objective(
        base: &Path,
        method: &Method,
        objective: Objective,
        seed: u64,
    ) -> Result<Self, TrainError> {
        Self::of(Pipeline::load(base, &LoadOptions::default())?, method, objective, seed)
    }

    /// As [`Trainee::with_objective`], with a model that is loaded.
    ///
    /// # Errors
    /// As there.
    pub fn of(
        mut pipeline: Pipeline,
        method: &Method,
        objective: Objective,
        seed: u64,
    ) -> Result<Self, TrainError> {
        check_model(&pipeline, &objective)?;
        let plan = match method {
            Method::Lora(options) => lora::plan(&pipeline, options, &objective, seed)?,
            Method::TextualInversion(options) => inversion::plan(&pipeline, options, seed)?,
            Method::Hypernetwork(options) => hypernetwork::plan(&pipeline, options, seed)?,
            Method::Full(options) => full::plan(&pipeline, *options, &objective)?,
        };
        let Plan { variables, tracked, plain, dropout, output } = plan;
        pipeline.rebase(plain.options())?;
        let set = |embedding: &Option<Arc<Embedding>>| {
            let mut set = EmbeddingSet::default();
            embedding.iter().try_for_each(|e| set.insert(Arc::clone(e)))?;
            Ok::<_, TrainError>(set)
        };
        Ok(Self {
            networks: pipeline.build(tracked.options())?,
            embeddings: set(&tracked.embedding)?,
            plain_embeddings: set(&plain.embedding)?,
            plain_embedding: plain.embedding,
            pipeline,
            variables,
            dropout,
            output,
            objective,
            checkpointing: GradientCheckpointing::default(),
        })
    }

    /// The same, with another choice between time and memory; the gradients are the same.
    #[must_use]
    pub fn checkpointing(mut self, checkpointing: GradientCheckpointing) -> Self {
        self.checkpointing = checkpointing;
        self
    }

    /// All variables, in an order that is the same in every run of the method on the model.
    pub fn variables(&self) -> &[NamedVar] {
        &self.variables
    }

    /// Draws with the present weights, whatever they become; see [`Trainee::embedding`] for the word that
    /// textual inversion trains.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The trained word with its present vectors, for the library that pictures are drawn with.
    pub fn embedding(&self) -> Option<&Arc<Embedding>> {
        self.plain_embedding.as_ref()
    }

    /// The mean of the latents of pictures, `[batch, 4, h/8, w/8]`, scaled as samplers and
    /// [`Batch::latents`] have them. `pixels: [batch, 3, h, w]` from -1 to 1, sides multiples of 8.
    ///
    /// # Errors
    /// The model's autoencoder has no encoder, or the arithmetic failed.
    pub fn encode(&self, pixels: &Tensor) -> Result<Tensor, TrainError> {
        let failed = TrainError::tensor("the encoder");
        let moments = self.moments(pixels)?;
        let config = self.pipeline.vae().config();
        let mean = moments.narrow(1, 0, config.latent_channels).and_then(|m| m.contiguous());
        mean.and_then(|m| m * config.scaling_factor).map_err(failed)
    }

    /// The mean and the logarithm of the variance of the latents of pictures, `[batch, 8, h/8, w/8]`, not
    /// scaled.
    ///
    /// # Errors
    /// As for [`Trainee::encode`].
    pub fn moments(&self, pixels: &Tensor) -> Result<Tensor, TrainError> {
        self.pipeline.vae().moments(pixels).map_err(|error| match error {
            VaeError::NoEncoder => TrainError::NoEncoder,
            VaeError::Tensor { source } => TrainError::Tensor { stage: "the encoder", source },
        })
    }

    /// Encodes captions with the present weights for [`Captions::Encoded`], all of one length; worth it
    /// only if [`Trainee::trains_text`] says no.
    ///
    /// # Errors
    /// The arithmetic failed.
    pub fn encode_prompts(&self, captions: &[String]) -> Result<Vec<Conditioning>, TrainError> {
        let text = self.pipeline.text_encoder();
        Ok(text.encode_captions(captions, self.objective.clip_skip, &self.plain_embeddings)?)
    }

    /// Do the captions' encodings change in training, so that they cannot be cached?
    pub fn trains_text(&self) -> bool {
        self.variables.iter().any(|v| v.group != Group::Unet)
    }

    /// The loss of a batch, a scalar of f32: the mean over the samples of the mean square of what the
    /// prediction is off, times the objective's and the sample's weight.
    ///
    /// # Errors
    /// The batch's parts do not go together or with the model, or the arithmetic failed.
    pub fn loss(&self, batch: &Batch) -> Result<Tensor, TrainError> {
        self.loss_along(batch, &mut Direct)
    }

    fn loss_along<'n, W: Walk<'n>>(&'n self, batch: &Batch, walk: &mut W) -> Result<Tensor, TrainError> {
        self.check(batch)?;
        if let Some(dropout) = &self.dropout {
            dropout.restart(batch.dropout_seed);
        }
        let (context, pooled) = self.conditions(&batch.captions)?;
        self.denoising_loss(batch, &context, pooled.as_ref(), walk).map_err(TrainError::tensor("the loss"))
    }

    /// The loss, and the gradient of each variable in the order of [`Trainee::variables`].
    ///
    /// # Errors
    /// As for [`Trainee::loss`]; or a variable had no part in the loss, which only an embedding that no
    /// caption names may have: its gradient is zero.
    pub fn step(&self, batch: &Batch) -> Result<(f32, Vec<Tensor>), TrainError> {
        let failed = TrainError::tensor("the gradients");
        let (loss, found) = match self.checkpointing {
            GradientCheckpointing::Off => {
                let loss = self.loss(batch)?;
                let mut store = loss.backward().map_err(&failed)?;
                let found = self.variables.iter().map(|v| store.remove(v.var.as_tensor())).collect();
                (loss, found)
            }
            GradientCheckpointing::Blocks => {
                let mut recorder = Recorder::default();
                let loss = self.loss_along(batch, &mut recorder)?;
                let found = recorder.backward(&loss, &self.variables).map_err(&failed)?;
                (loss, found)
            }
        };
        self.all_gradients(found).and_then(|gradients| Ok((loss.to_scalar().map_err(failed)?, gradients)))
    }

    fn all_gradients(&self, found: Vec<Option<Tensor>>) -> Result<Vec<Tensor>, TrainError> {
        let failed = TrainError::tensor("the gradients");
        let mut gradients = Vec::with_capacity(self.variables.len());
        for (NamedVar { name, var, group }, found) in self.variables.iter().zip(found) {
            gradients.push(match found {
                Some(gradient) => gradient.contiguous().map_err(&failed)?,
                None if *group == Group::Embedding => var.zeros_like().map_err(&failed)?,
                None => return Err(TrainError::NoGradient { name: name.clone() }),
            });
        }
        Ok(gradients)
    }

    /// Sets the variables to saved values: what [`Trainee::variables`] held, by name.
    ///
    /// # Errors
    /// A variable is missing, has another shape or is not finite; then none was set.
    pub fn load_variables(&self, saved: &BTreeMap<String, Tensor>) -> Result<(), TrainError> {
        let failed = TrainError::tensor("the saved state");
        let mut values = Vec::with_capacity(self.variables.len());
        for NamedVar { name, var, .. } in &self.variables {
            let refuse = |detail: String| TrainError::State { name: name.clone(), detail };
            let value = saved.get(name).ok_or_else(|| refuse("is missing".into()))?;
            if value.dims() != var.dims() {
                return Err(refuse(format!("is {:?}, it should be {:?}", value.dims(), var.dims())));
            }
            // A copy, for a variable cannot be set to what shares its memory.
            let value = value.to_dtype(DType::F32).and_then(|v| v.copy()).map_err(&failed)?;
            let sum = value.abs().and_then(|v| v.sum_all()).and_then(|v| v.to_scalar::<f32>());
            if !sum.map_err(&failed)?.is_finite() {
                return Err(refuse("is not finite".into()));
            }
            values.push(value);
        }
        self.variables.iter().zip(values).try_for_each(|(v, value)| v.var.set(&value)).map_err(failed)
    }

    fn conditions(&self, captions: &Captions) -> Result<(Tensor, Option<Tensor>), TrainError> {
        let own;
        let all = match captions {
            Captions::Encoded(all) => all,
            Captions::Texts(texts) => {
                let text = &self.networks.text;
                own = text.encode_captions(texts, self.objective.clip_skip, &self.embeddings)?;
                &own
            }
        };
        let length = |c: &Conditioning| c.context.dim(1).ok();
        if all.iter().any(|c| length(c) != all.first().and_then(length)) {
            let detail = "have several lengths: encode them in one call".to_owned();
            return Err(TrainError::Batch { part: "captions", detail });
        }
        let contexts: Vec<&Tensor> = all.iter().map(|c| &c.context).collect();
        let pooled: Vec<&Tensor> = all.iter().filter_map(|c| c.pooled.as_ref()).collect();
        let failed = TrainError::tensor("the captions");
        let context = Tensor::cat(&contexts, 0).map_err(&failed)?;
        let pooled = if pooled.len() == all.len() { Some(Tensor::cat(&pooled, 0)) } else { None };
        Ok((context, pooled.transpose().map_err(failed)?))
    }

    fn denoising_loss<'n, W: Walk<'n>>(
        &'n self,
        batch: &Batch,
        context: &Tensor,
        pooled: Option<&Tensor>,
        walk: &mut W,
    ) -> candle_core::Result<Tensor> {
        let kind = self.pipeline.prediction_type();
        let noising = Noising::new(self.pipeline.noise_table(), &batch.timesteps, kind)?;
        let x = noising.noisy(&batch.latents, &batch.noise)?;
        let timesteps: Vec<f32> = batch.timesteps.iter().map(|t| *t as f32).collect();
        let timesteps = Tensor::from_vec(timesteps, batch.timesteps.len(), x.device())?;
        let added = match pooled.filter(|_| self.pipeline.family() == Family::Sdxl) {
            Some(pooled) => Some(added_embedding(pooled, &micro(batch)?)?),
            None => None,
        };
        let input = UnetInput { added: added.as_ref(), ..UnetInput::new(&x, &timesteps, context) };
        let prediction = self.networks.unet.walk(&input, walk)?;
        let target = noising.target(&batch.latents, &batch.noise)?;
        let mut weights = noising.weights(self.objective.min_snr_gamma);
        weights.iter_mut().zip(&batch.weights).for_each(|(w, own)| *w *= f64::from(*own));
        weighed_loss(&prediction, &target, &weights)
    }

    fn check(&self, batch: &Batch) -> Result<(), TrainError> {
        let refuse = |part: &'static str, detail: String| Err(TrainError::Batch { part, detail });
        let channels = self.pipeline.unet().config().out_channels;
        let count = match *batch.latents.dims() {
            [batch, c, h, w] if batch > 0 && c == channels && h > 0 && w > 0 => batch,
            ref other => {
                return refuse("latents", format!("are {other:?}, [batch, {channels}, h, w] is needed"));
            }
        };
        if batch.noise.dims() != batch.latents.dims() {
            return refuse(
                "noise",
                format!("is {:?}, the latents are {:?}", batch.noise.dims(), batch.latents.dims()),
            );
        }
        let lengths = [
            ("timesteps", batch.timesteps.len()),
            ("captions", batch.captions.len()),
            ("weights", batch.weights.len()),
            ("micro-conditions", batch.micro.as_ref().map_or(count, Vec::len)),
        ];
        if let Some((part, length)) = lengths.into_iter().find(|(_, length)| *length != count) {
            return refuse(part, format!("are {length}, there are {count} samples"));
        }
        let steps = self.pipeline.noise_table().alphas_cumprod().len();
        if let Some(t) = batch.timesteps.iter().find(|t| **t as usize >= steps) {
            return refuse("timesteps", format!("hold {t}, this model has {steps}"));
        }
        if self.trains_text() && matches!(batch.captions, Captions::Encoded(_)) {
            return refuse("captions", "are encoded, but what encodes them is trained: give texts".into());
        }
        Ok(())
    }
}

fn check_model(pipeline: &Pipeline, objective: &Objective) -> Result<(), TrainError> {
    let refuse = |model: String, remedy| Err(TrainError::Unsupported { model, remedy });
    let remedy = "use a text-to-image model of SD 1.x, SD 2.x or SDXL";
    if pipeline.model_variant() != ModelVariant::TextToImage {
        return refuse(pipeline.describe_variant(), remedy);
    }
    match pipeline.family() {
        Family::SdxlRefiner => return refuse("the SDXL refiner".into(), remedy),
        Family::Sd1 | Family::Sd2 | Family::Sdxl | Family::Unknown => {}
    }
    if let Some(gamma) = objective.min_snr_gamma.filter(|g| !(*g > 0.0 && g.is_finite())) {
        let limit = "it is above 0".to_owned();
        return Err(TrainError::Option { option: "min_snr_gamma", value: gamma.to_string(), limit });
    }
    Ok(())
}

/// `[batch, 6]`; a latent is eight pixels wide.
fn micro(batch: &Batch) -> candle_core::Result<Tensor> {
    let (count, _, h, w) = batch.latents.dims4()?;
    let size = (8 * h as u32, 8 * w as u32);
    let uncut = || vec![MicroConditions { original: size, crop: (0, 0), target: size }; count];
    let all = batch.micro.clone().unwrap_or_else(uncut);
    let ids: Vec<f32> = all.into_iter().flat_map(MicroConditions::ids).collect();
    Tensor::from_vec(ids, (count, 6), batch.latents.device())
}
