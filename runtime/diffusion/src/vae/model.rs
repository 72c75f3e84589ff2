//! Both halves and the convolutions between them and the latents.

use candle_core::{Result, Tensor};

use crate::config::VaeConfig;
use crate::ops::Conv2d;
use crate::weights::{Params, WeightError};

use super::decoder::Decoder;
use super::encoder::Encoder;

/// Why a picture cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum VaeError {
    #[error("this model's autoencoder has no encoder: use a complete checkpoint or a separate VAE")]
    NoEncoder,
    #[error("the autoencoder's arithmetic failed")]
    Tensor { source: candle_core::Error },
}

/// The autoencoder; some files carry the decoder only.
#[derive(Debug)]
pub struct Vae {
    config: VaeConfig,
    encoder: Option<(Encoder, Conv2d)>,
    post_quant_conv: Conv2d,
    decoder: Decoder,
}

impl Vae {
    /// Loads the networks at `p` (`vae.`).
    ///
    /// # Errors
    /// A tensor is missing, of another shape, or not finite.
    pub fn load(p: &Params, config: VaeConfig) -> std::result::Result<Self, WeightError> {
        let latent = config.latent_channels;
        let encoder = if config.has_encoder {
            let quant_conv = Conv2d::load(&p.at("quant_conv"), latent * 2, latent * 2, 1)?;
            Some((Encoder::load(&p.at("encoder"), &config)?, quant_conv))
        } else {
            None
        };
        Ok(Self {
            encoder,
            post_quant_conv: Conv2d::load(&p.at("post_quant_conv"), latent, latent, 1)?,
            decoder: Decoder::load(&p.at("decoder"), &config)?,
            config,
        })
    }

    /// The shape it was built with.
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// `latent: [batch, channels, h, w]` as the sampler leaves it (scaled); the result is
    /// `[batch, 3, 8h, 8w]`, about -1 to 1, not clamped.
    pub fn decode(&self, latent: &Tensor) -> Result<Tensor> {
        let latent = (latent / self.config.scaling_factor)?;
        self.decoder.forward(&self.post_quant_conv.forward(&latent)?)
    }

    /// `picture: [batch, 3, h, w]` from -1 to 1; the result is the mean and the logarithm of the
    /// variance of the latents, `[batch, 2 * channels, h/8, w/8]`, unscaled.
    ///
    /// # Errors
    /// The file has no encoder.
    pub fn moments(&self, picture: &Tensor) -> std::result::Result<Tensor, VaeError> {
        let (encoder, quant_conv) = self.encoder.as_ref().ok_or(VaeError::NoEncoder)?;
        encoder
            .forward(picture)
            .and_then(|x| quant_conv.forward(&x))
            .map_err(|source| VaeError::Tensor { source })
    }
}
