//! From files to a pipeline.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{ClipConfig, ClipOrigin, ModelVariant, SD_SCALE, SDXL_SCALE, UnetConfig, VaeConfig};
use crate::inspect::{Family, PredictionType};
use crate::schedule::NoiseTable;
use crate::text::TextEncoders;
use crate::unet::{TIME_ID_WIDTH, Unet};
use crate::vae::Vae;
use crate::weights::{BuildOptions, Params, WeightError, Weights};

use super::error::LoadError;
use super::networks::{Blueprint, Networks};
use super::open::{Opened, open, unsupported};
use super::probe::probe_prediction;
use super::training::Training;
use super::variants::VariantCache;

/// The first convolution, whose shape tells what a UNet reads.
const FIRST: &str = "unet.conv_in.weight";

/// What the loader is told besides the path.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The model's name, for the pictures' parameters.
    pub name: Option<String>,
    /// SHA-256 of the weights in hexadecimal digits, for the pictures' parameters.
    pub sha256: Option<String>,
    /// An autoencoder's file to use in place of the model's own.
    pub vae: Option<PathBuf>,
    /// The files of a tiny autoencoder for previews: decoder, encoder or both.
    pub taesd: Vec<PathBuf>,
    /// What the process may use; a request that would take more is refused. `None` refuses nothing.
    pub memory_limit_bytes: Option<u64>,
}

/// A loaded model. It may be shared between threads; each generation has its own state.
#[derive(Debug)]
pub struct Pipeline {
    /// The networks as the files have them.
    pub(super) base: Arc<Networks>,
    pub(super) blueprint: Blueprint,
    pub(super) training: Training,
    pub(super) prediction_type: PredictionType,
    pub(super) variant: ModelVariant,
    pub(super) table: NoiseTable,
    pub(super) options: LoadOptions,
    pub(super) weight_bytes: u64,
    pub(super) variants: VariantCache,
}

impl Pipeline {
    /// Loads a single file in LDM or SGM layout, or a folder in diffusers layout. Weights become f32.
    ///
    /// # Errors
    /// The files are unreadable, hostile, incomplete, or of a kind that this engine does not run; the
    /// message names the tensor or key and, where there is one, the remedy.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, LoadError> {
        let opened = open(path, options)?;
        let blueprint = blueprint(&opened)?;
        let variant = check_together(path, &blueprint)?;
        let base = Arc::new(blueprint.build(Arc::default())?);
        blueprint.weights.close_files();
        let elements = |shape: &[usize]| shape.iter().map(|d| *d as u64).product::<u64>();
        Ok(Self {
            prediction_type: prediction_type(&opened.training, variant, &base.unet)?,
            weight_bytes: blueprint.weights.shapes().map(|(_, shape)| elements(shape) * 4).sum(),
            base,
            blueprint,
            variant,
            table: opened.training.table.clone(),
            training: opened.training,
            options: options.clone(),
            variants: VariantCache::default(),
        })
    }

    /// The networks of this model built with patches or another padding; what the options leave alone
    /// is shared.
    ///
    /// # Errors
    /// A patch does not fit its tensor.
    pub fn build(&self, options: Arc<BuildOptions>) -> Result<Networks, LoadError> {
        Ok(self.blueprint.build(options)?)
    }

    /// Builds the model's own networks again.
    ///
    /// # Errors
    /// As for [`Pipeline::build`].
    pub(crate) fn rebase(&mut self, options: Arc<BuildOptions>) -> Result<(), LoadError> {
        self.base = Arc::new(self.blueprint.build(options)?);
        Ok(())
    }

    /// What the networks were built from; its files are closed.
    pub(crate) fn weights(&self) -> &Arc<Weights> {
        &self.blueprint.weights
    }

    /// The places of the text encoders in the tree of names, in their order.
    pub(crate) fn text_prefixes(&self) -> Vec<&'static str> {
        let count = self.base.text.networks().len();
        self.blueprint.clips.iter().take(count).map(|(prefix, _)| *prefix).collect()
    }

    /// The family of the loaded model.
    pub fn family(&self) -> Family {
        self.blueprint.family
    }

    /// What the UNet predicts.
    pub fn prediction_type(&self) -> PredictionType {
        self.prediction_type
    }

    /// What the UNet reads in place of a bare latent.
    pub fn model_variant(&self) -> ModelVariant {
        self.variant
    }

    /// The tensor that tells the variant, for messages: "`model.diffusion_model.input_blocks.0.0.weight`
    /// is [320, 9, 3, 3]: an inpainting model".
    pub fn describe_variant(&self) -> String {
        let weights = &self.blueprint.weights;
        let name = weights.original_name(FIRST).unwrap_or(FIRST);
        let shape = weights.shape(FIRST).unwrap_or_default();
        format!("`{name}` is {shape:?}: {}", self.variant.described())
    }

    /// How the model was trained, as far as its files say.
    pub fn training(&self) -> &Training {
        &self.training
    }

    /// Memory of the loaded weights.
    pub fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// The text encoders.
    pub fn text_encoder(&self) -> &TextEncoders {
        &self.base.text
    }

    /// The UNet.
    pub fn unet(&self) -> &Unet {
        &self.base.unet
    }

    /// The autoencoder.
    pub fn vae(&self) -> &Vae {
        &self.base.vae
    }

    /// The model's noise levels.
    pub fn noise_table(&self) -> &NoiseTable {
        &self.table
    }
}

/// The components that hold a family's text encoders, and who trained them.
fn text_parts(family: Family) -> &'static [(&'static str, ClipOrigin)] {
    use ClipOrigin::{OpenAi, OpenClip};
    match family {
        Family::Sd1 | Family::Unknown => &[("text", OpenAi)],
        Family::Sd2 => &[("text", OpenClip)],
        Family::Sdxl => &[("text", OpenAi), ("text2", OpenClip)],
        Family::SdxlRefiner => &[("text2", OpenClip)],
    }
}

fn blueprint(opened: &Opened) -> Result<Blueprint, LoadError> {
    let root = Params::new(Arc::clone(&opened.weights));
    let configs = &opened.configs;
    let mut clips = Vec::new();
    for (part, origin) in text_parts(opened.family) {
        let json = if *part == "text2" { configs.text2.as_ref() } else { configs.text.as_ref() };
        clips.push((*part, ClipConfig::read_as(&root.at(part), json, *origin)?));
    }
    let scale = match opened.family {
        Family::Sdxl | Family::SdxlRefiner => SDXL_SCALE,
        Family::Sd1 | Family::Sd2 | Family::Unknown => SD_SCALE,
    };
    Ok(Blueprint {
        weights: Arc::clone(&opened.weights),
        family: opened.family,
        clips,
        unet: UnetConfig::read(&root.at("unet"), configs.unet.as_ref())?,
        vae: VaeConfig::read(&root.at("vae"), configs.vae.as_ref(), scale)?,
        taesd: opened.weights.shapes().any(|(name, _)| name.starts_with("taesd.")),
    })
}

/// What the files say, or the network itself where they are silent. The inpainting model of SD 2 is the
/// only one with more channels, and predicts epsilon.
fn prediction_type(
    training: &Training,
    variant: ModelVariant,
    unet: &Unet,
) -> Result<PredictionType, LoadError> {
    match (training.prediction_type, variant) {
        (Some(said), _) => Ok(said),
        (None, ModelVariant::TextToImage) => probe_prediction(unet)
            .map_err(|source| LoadError::Weights(WeightError::Tensor { name: "unet".into(), source })),
        (None, ModelVariant::Inpainting | ModelVariant::InstructPix2Pix) => Ok(PredictionType::Epsilon),
    }
}

/// The networks must speak of the same latents and the same text.
fn check_together(path: &Path, parts: &Blueprint) -> Result<ModelVariant, LoadError> {
    let (unet, vae) = (&parts.unet, &parts.vae);
    let latent = vae.latent_channels;
    if unet.out_channels != latent {
        let found = format!("a UNet of {} channels with latents of {latent}", unet.out_channels);
        return Err(unsupported(path, found, "use the autoencoder that belongs to it"));
    }
    let Some(variant) = unet.variant() else {
        let tensor = parts.weights.original_name(FIRST).unwrap_or(FIRST);
        let found = format!("a model whose `{tensor}` reads {} channels", unet.in_channels);
        let remedy = "use a text-to-image, inpainting (9 channels) or instruct-pix2pix model (8)";
        return Err(unsupported(path, found, remedy));
    };
    let width: usize = parts.clips.iter().map(|(_, clip)| clip.width).sum();
    if unet.context != width {
        let found = format!("a UNet that reads text of width {}, with an encoder of {width}", unet.context);
        return Err(unsupported(path, found, "use the text encoder that belongs to it"));
    }
    check_added(path, parts)?;
    if vae.downscale() != 8 {
        let found = format!("an autoencoder of {} pixels per latent", vae.downscale());
        return Err(unsupported(path, found, "use an autoencoder with four levels"));
    }
    Ok(variant)
}

/// SDXL reads pooled text and six micro-conditions besides the context, its refiner five.
fn check_added(path: &Path, parts: &Blueprint) -> Result<(), LoadError> {
    let conditions = match parts.family {
        Family::Sdxl => 6,
        Family::SdxlRefiner => 5,
        Family::Sd1 | Family::Sd2 | Family::Unknown => return Ok(()),
    };
    let pooled = parts.clips.last().and_then(|(_, clip)| clip.projection).unwrap_or(0);
    let want = pooled + conditions * TIME_ID_WIDTH;
    if parts.unet.added == Some(want) {
        return Ok(());
    }
    let has = parts.unet.added.unwrap_or(0);
    let found = format!("a UNet that reads {has} added conditions, with an encoder that gives {want}");
    Err(unsupported(path, found, "use the text encoder that belongs to it"))
}
