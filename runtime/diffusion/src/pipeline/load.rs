//! From files to a pipeline.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::{ClipConfig, UnetConfig, VaeConfig};
use crate::inspect::{Family, Kind, family_of, kind_of};
use crate::layout::{Folder, LdmNames, rename_clip, rename_diffusers_vae};
use crate::schedule::NoiseTable;
use crate::text::TextEncoders;
use crate::unet::Unet;
use crate::vae::Vae;
use crate::weights::{BuildOptions, FileHeader, Params, Weights, WeightsBuilder, read_header};

use super::error::LoadError;
use super::networks::{Blueprint, Networks};

/// What the loader is told besides the path; both only for the pictures' parameters.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The model's name.
    pub name: Option<String>,
    /// SHA-256 of the weights in hexadecimal digits.
    pub sha256: Option<String>,
}

/// A loaded SD 1.x model. It may be shared between threads; each generation has its own state.
#[derive(Debug)]
pub struct Pipeline {
    /// The networks as the files have them.
    pub(super) base: Arc<Networks>,
    pub(super) blueprint: Blueprint,
    pub(super) table: NoiseTable,
    pub(super) options: LoadOptions,
    pub(super) weight_bytes: u64,
}

/// The `config.json` of each component; absent for single files.
#[derive(Default)]
struct Configs {
    unet: Option<Value>,
    vae: Option<Value>,
    text: Option<Value>,
}

impl Pipeline {
    /// Loads a single file in LDM layout, or a folder in diffusers layout. Weights become f32.
    ///
    /// # Errors
    /// The files are unreadable, hostile, incomplete, or of a kind that this engine does not run; the
    /// message names the tensor or key and, where there is one, the remedy.
    pub fn load(path: &Path, options: &LoadOptions) -> Result<Self, LoadError> {
        let (weights, configs, table) = if path.is_dir() { open_folder(path)? } else { open_file(path)? };
        let weight_bytes =
            weights.shapes().map(|(_, shape)| shape.iter().map(|d| *d as u64).product::<u64>() * 4).sum();
        let root = Params::new(Arc::clone(&weights));
        let clip_config = ClipConfig::read(&root.at("text"), configs.text.as_ref())?;
        let unet_config = UnetConfig::read(&root.at("unet"), configs.unet.as_ref())?;
        let vae_config = VaeConfig::read(&root.at("vae"), configs.vae.as_ref())?;
        check_together(path, &clip_config, &unet_config, &vae_config)?;
        let blueprint = Blueprint { weights, clip: clip_config, unet: unet_config, vae: vae_config };
        let base = Arc::new(blueprint.build(Arc::default())?);
        blueprint.weights.close_files();
        Ok(Self { base, blueprint, table, options: options.clone(), weight_bytes })
    }

    /// The networks of this model built with patches or another padding; what the options leave alone
    /// is shared.
    ///
    /// # Errors
    /// A patch does not fit its tensor.
    pub fn build(&self, options: Arc<BuildOptions>) -> Result<Networks, LoadError> {
        Ok(self.blueprint.build(options)?)
    }

    /// The family of the loaded model.
    pub fn family(&self) -> Family {
        Family::Sd1
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

type Opened = (Arc<Weights>, Configs, NoiseTable);

fn open_file(path: &Path) -> Result<Opened, LoadError> {
    let file = read_header(path)?;
    let kind = kind_of(&file.header);
    if kind != Kind::Checkpoint {
        let remedy = "load a checkpoint, with UNet, VAE and text encoder in one file or folder";
        return Err(unsupported(path, format!("of kind {kind}, not a checkpoint"), remedy));
    }
    check_family(path, family_of(&file.header, kind))?;
    if says_v_prediction(&file) {
        return Err(v_prediction(path));
    }
    let names = LdmNames::learn(file.header.tensors.keys().map(String::as_str));
    let mut builder = WeightsBuilder::default();
    builder.add(file, |name| names.rename(name))?;
    Ok((builder.build(), Configs::default(), NoiseTable::sd1()))
}

fn says_v_prediction(file: &FileHeader) -> bool {
    let said = file.header.metadata.get("modelspec.prediction_type");
    file.header.tensors.contains_key("v_pred") || said.is_some_and(|v| v.starts_with('v'))
}

fn open_folder(path: &Path) -> Result<Opened, LoadError> {
    let folder = Folder::open(path)?;
    if !folder.text2.is_empty() {
        check_family(path, Family::Sdxl)?;
    }
    let mut builder = WeightsBuilder::default();
    for part in &folder.unet {
        let file = read_header(part)?;
        check_family(path, family_of(&file.header, Kind::Unet))?;
        builder.add(file, |name| Some(format!("unet.{name}")))?;
    }
    for part in &folder.vae {
        builder.add(read_header(part)?, |name| Some(format!("vae.{}", rename_diffusers_vae(name)?)))?;
    }
    for part in &folder.text {
        builder.add(read_header(part)?, |name| Some(format!("text.{}", rename_clip(name)?)))?;
    }
    let table = noise_table(path, &folder)?;
    let configs = Configs {
        unet: folder.config("unet")?,
        vae: folder.config("vae")?,
        text: folder.config("text_encoder")?,
    };
    Ok((builder.build(), configs, table))
}

/// The scheduler's configuration: its class is the request's business, its training is the model's.
fn noise_table(path: &Path, folder: &Folder) -> Result<NoiseTable, LoadError> {
    let config = folder.scheduler()?.unwrap_or_else(|| json!({}));
    let said = |key: &str| config.get(key).filter(|v| !v.is_null());
    if said("prediction_type").and_then(Value::as_str).is_some_and(|p| p != "epsilon") {
        return Err(v_prediction(path));
    }
    let refuse = |key: &str| {
        let found = format!("a model trained with the scheduler's `{key}` = {}", config[key]);
        unsupported(path, found, "use a model with the noise schedule of SD 1.x")
    };
    if said("beta_schedule").is_some_and(|v| v != "scaled_linear") {
        return Err(refuse("beta_schedule"));
    }
    if said("trained_betas").is_some() {
        return Err(refuse("trained_betas"));
    }
    if said("rescale_betas_zero_snr").is_some_and(|v| v != &json!(false)) {
        return Err(refuse("rescale_betas_zero_snr"));
    }
    if said("num_train_timesteps").is_some_and(|v| v != &json!(1000)) {
        return Err(refuse("num_train_timesteps"));
    }
    let beta = |key: &str, default: f64| match said(key) {
        None => Ok(default),
        Some(v) => v.as_f64().filter(|b| *b > 0.0 && *b < 0.5).ok_or_else(|| refuse(key)),
    };
    Ok(NoiseTable::scaled_linear(beta("beta_start", 0.00085)?, beta("beta_end", 0.012)?, 1000))
}

fn check_family(path: &Path, family: Family) -> Result<(), LoadError> {
    if family == Family::Sd1 {
        return Ok(());
    }
    Err(unsupported(path, format!("of family {family}"), "this engine runs SD 1.x"))
}

/// The networks must speak of the same latents and the same text.
fn check_together(
    path: &Path,
    clip: &ClipConfig,
    unet: &UnetConfig,
    vae: &VaeConfig,
) -> Result<(), LoadError> {
    let latent = vae.latent_channels;
    if unet.in_channels != latent || unet.out_channels != latent {
        let found = match unet.in_channels {
            9 => "an inpainting model (9 input channels)".to_owned(),
            8 => "an instruct-pix2pix model (8 input channels)".to_owned(),
            n => format!("a UNet from {n} to {} channels with latents of {latent}", unet.out_channels),
        };
        return Err(unsupported(path, found, "use a text-to-image model"));
    }
    if unet.context != clip.width {
        let found =
            format!("a UNet that reads text of width {}, with an encoder of {}", unet.context, clip.width);
        return Err(unsupported(path, found, "use the text encoder that belongs to it"));
    }
    if vae.downscale() != 8 {
        let found = format!("an autoencoder of {} pixels per latent", vae.downscale());
        return Err(unsupported(path, found, "use an autoencoder with four levels"));
    }
    Ok(())
}

fn v_prediction(path: &Path) -> LoadError {
    unsupported(path, "a v-prediction model".into(), "use a model that predicts epsilon, as SD 1.x does")
}

fn unsupported(path: &Path, found: String, remedy: &'static str) -> LoadError {
    LoadError::Unsupported { path: path.display().to_string(), found, remedy }
}
