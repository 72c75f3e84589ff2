//! The networks of a model, and how they are built from its weights.

use std::sync::Arc;

use crate::config::{ClipConfig, UnetConfig, VaeConfig};
use crate::text::{ClipText, TextEncoders, TextStyle};
use crate::unet::Unet;
use crate::vae::Vae;
use crate::weights::{BuildOptions, Params, WeightError, Weights};

/// Text encoder, UNet and autoencoder; immutable, shared between threads.
#[derive(Debug)]
pub struct Networks {
    pub text: TextEncoders,
    pub unet: Unet,
    pub vae: Vae,
}

/// What networks are built from: kept, so that they can be built again with adapters or another padding.
#[derive(Debug)]
pub(super) struct Blueprint {
    pub weights: Arc<Weights>,
    pub clip: ClipConfig,
    pub unet: UnetConfig,
    pub vae: VaeConfig,
}

impl Blueprint {
    /// Tensors that `options` leave alone are shared by all networks of this blueprint.
    ///
    /// # Errors
    /// A tensor is missing, of another shape or not finite, or a patch does not fit.
    pub(super) fn build(&self, options: Arc<BuildOptions>) -> Result<Networks, WeightError> {
        let root = Params::with(Arc::clone(&self.weights), options);
        Ok(Networks {
            text: TextEncoders::new(
                TextStyle::Sd1,
                vec![ClipText::load(&root.at("text"), self.clip.clone())?],
            )?,
            unet: Unet::load(&root.at("unet"), self.unet.clone())?,
            vae: Vae::load(&root.at("vae"), self.vae.clone())?,
        })
    }
}
