//! An autoencoder from a file of its own, used instead of the model's.

use std::path::Path;
use std::sync::Arc;

use crate::adapters::Identity;
use crate::config::{ConfigError, SD_SCALE, VaeConfig};
use crate::inspect::{Kind, kind_of};
use crate::layout::{LdmNames, rename_diffusers_vae};
use crate::vae::Vae;
use crate::weights::{BuildOptions, Params, WeightError, Weights, WeightsBuilder, read_header};

/// What the autoencoder's tensors begin with in a whole checkpoint.
const LDM: &str = "first_stage_model.";

/// Why a file is no usable autoencoder, or not one for this model.
#[derive(Debug, thiserror::Error)]
pub enum VaeFileError {
    #[error(transparent)]
    Weights(Box<WeightError>),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{path} is of kind {kind}, not an autoencoder: it has no `decoder.conv_in.weight`")]
    NotAVae { path: String, kind: Kind },
    #[error(
        "the autoencoder has {channels} channels and {downscale} pixels per latent, this model's {model_channels} and {model_downscale}: use one of the model's family"
    )]
    OtherModel { channels: usize, downscale: usize, model_channels: usize, model_downscale: usize },
}

impl From<WeightError> for VaeFileError {
    fn from(error: WeightError) -> Self {
        Self::Weights(Box::new(error))
    }
}

impl VaeFileError {
    /// Stable CamelCase word for statuses and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Weights(e) => e.reason(),
            Self::Config(e) => e.reason(),
            Self::NotAVae { .. } => "NotAVae",
            Self::OtherModel { .. } => "VaeOfOtherModel",
        }
    }

    /// Does trying again with the same file make sense?
    pub fn retriable(&self) -> bool {
        match self {
            Self::Weights(e) => e.retriable(),
            Self::Config(e) => e.retriable(),
            Self::NotAVae { .. } | Self::OtherModel { .. } => false,
        }
    }
}

/// A loaded autoencoder file.
#[derive(Debug)]
pub struct SeparateVae {
    identity: Identity,
    weights: Arc<Weights>,
    config: VaeConfig,
}

impl SeparateVae {
    /// Reads an autoencoder in the layout of `ldm` (with `first_stage_model.` or without) or of diffusers;
    /// of a whole checkpoint, its autoencoder. `sha256`, if known, lets networks be shared with another load.
    ///
    /// # Errors
    /// The file is unreadable, hostile, or no complete autoencoder.
    pub fn load(path: &Path, sha256: Option<&str>) -> Result<Self, VaeFileError> {
        let file = read_header(path)?;
        let names: Vec<String> = file.header.tensors.keys().map(|name| prefixed(name)).collect();
        if !names.iter().any(|name| name.strip_prefix(LDM).is_some_and(|n| n.starts_with("decoder.conv_in.")))
        {
            let (path, kind) = (path.display().to_string(), kind_of(&file.header));
            return Err(VaeFileError::NotAVae { path, kind });
        }
        let diffusers = names.iter().any(|name| name.contains(".mid_block."));
        let ldm = LdmNames::learn(names.iter().map(String::as_str));
        let rename = |name: &str| {
            let name = prefixed(name);
            if diffusers {
                Some(format!("vae.{}", rename_diffusers_vae(name.strip_prefix(LDM)?)?))
            } else {
                ldm.rename(&name).filter(|name| name.starts_with("vae."))
            }
        };
        let mut builder = WeightsBuilder::default();
        builder.add(file, rename)?;
        let weights = builder.build();
        let root = Params::new(Arc::clone(&weights));
        let config = VaeConfig::read(&root.at("vae"), None, SD_SCALE)?;
        // Once, to find every fault now, and to have read the tensors before the file is let go.
        Vae::load(&root.at("vae"), config.clone())?;
        weights.close_files();
        Ok(Self { identity: Identity::new(sha256), weights, config })
    }

    /// The network, in the place of `model`'s, whose latents it has to speak.
    ///
    /// # Errors
    /// Its latents have another shape.
    pub(super) fn build(&self, model: &VaeConfig, options: Arc<BuildOptions>) -> Result<Vae, VaeFileError> {
        let (mine, other) = (&self.config, model);
        if mine.latent_channels != other.latent_channels || mine.downscale() != other.downscale() {
            return Err(VaeFileError::OtherModel {
                channels: mine.latent_channels,
                downscale: mine.downscale(),
                model_channels: other.latent_channels,
                model_downscale: other.downscale(),
            });
        }
        // The files of all families look alike, and the UNet was trained with its own scale.
        let config = VaeConfig { scaling_factor: other.scaling_factor, ..mine.clone() };
        Ok(Vae::load(&Params::with(Arc::clone(&self.weights), options).at("vae"), config)?)
    }

    /// Memory of its weights.
    pub(super) fn bytes(&self) -> u64 {
        self.weights.shapes().map(|(_, shape)| shape.iter().map(|d| *d as u64).product::<u64>() * 4).sum()
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }
}

fn prefixed(name: &str) -> String {
    if name.starts_with(LDM) { name.to_owned() } else { format!("{LDM}{name}") }
}
