//! The shape of an autoencoder.

use serde_json::{Value, json};

use crate::weights::Params;

use super::error::{ConfigError, divides, within};
use super::json::Json;

const NAME: &str = "vae";

/// Scale of the latents of SD 1.x and 2.x: the inverse of their standard deviation over the training
/// pictures.
pub const SD_SCALE: f64 = 0.18215;
/// The same of SDXL and its refiner.
pub const SDXL_SCALE: f64 = 0.13025;

/// Everything needed to build an autoencoder.
#[derive(Debug, Clone, PartialEq)]
pub struct VaeConfig {
    pub latent_channels: usize,
    /// From the picture's resolution downwards.
    pub channels: Vec<usize>,
    /// Residual blocks per level of the encoder; the decoder has one more.
    pub layers: usize,
    pub norm_groups: usize,
    /// Latents are multiplied by this after encoding and divided by it before decoding.
    pub scaling_factor: f64,
    pub has_encoder: bool,
}

impl VaeConfig {
    /// Reads the shapes at `p` (`vae.`) and the `config.json` of a folder. The scale cannot be seen in
    /// shapes: without a configuration it is `scale`, that of the family.
    ///
    /// # Errors
    /// A tensor that every autoencoder has is missing, or a value is out of bounds or unsupported.
    pub fn read(p: &Params, config: Option<&Value>, scale: f64) -> Result<Self, ConfigError> {
        let json = Json { component: NAME, value: config };
        json.require(&taken_for_granted())?;
        let mut channels = Vec::new();
        // The decoder is always there, and its levels run backwards.
        while let Some(s) = p.shape(&format!("decoder.up_blocks.{}.resnets.0.conv1.weight", channels.len())) {
            channels.push(within(NAME, "channels", s.first().copied().unwrap_or(0), 8192)?);
            within(NAME, "levels", channels.len(), 8)?;
        }
        channels.reverse();
        within(NAME, "levels", channels.len(), 8)?;
        let resnets =
            (0..16).take_while(|n| p.has(&format!("decoder.up_blocks.0.resnets.{n}.conv1.weight"))).count();
        let missing = |tensor: &str| ConfigError::Missing { component: NAME, tensor: tensor.to_owned() };
        let conv_in = p.shape("decoder.conv_in.weight").ok_or_else(|| missing("decoder.conv_in.weight"))?;
        let latent_channels = conv_in.get(1).copied().unwrap_or(0);
        let this = Self {
            latent_channels: within(NAME, "latent_channels", latent_channels, 64)?,
            layers: within(NAME, "layers", resnets.saturating_sub(1), 8)?,
            norm_groups: json.usize("norm_num_groups", 32)?,
            scaling_factor: json.f64("scaling_factor", scale)?,
            has_encoder: p.has("encoder.conv_in.weight"),
            channels,
        };
        for channels in &this.channels {
            divides(NAME, "norm_num_groups", this.norm_groups, *channels)?;
        }
        Ok(this)
    }

    /// Pixels per latent in each direction.
    pub fn downscale(&self) -> usize {
        1 << (self.channels.len() - 1)
    }
}

fn taken_for_granted() -> Vec<(&'static str, Value)> {
    vec![
        ("_class_name", json!("AutoencoderKL")),
        ("act_fn", json!("silu")),
        ("in_channels", json!(3)),
        ("out_channels", json!(3)),
        ("use_quant_conv", json!(true)),
        ("use_post_quant_conv", json!(true)),
        ("mid_block_add_attention", json!(true)),
        // `null` is never compared, so any value of these is refused.
        ("latents_mean", Value::Null),
        ("latents_std", Value::Null),
        ("shift_factor", Value::Null),
    ]
}
