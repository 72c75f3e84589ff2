//! The networks of a model, and how they are built from its weights.

use std::sync::Arc;

use crate::config::{ClipConfig, UnetConfig, VaeConfig};
use crate::inspect::Family;
use crate::text::{ClipText, TextEncoders, TextStyle};
use crate::unet::Unet;
use crate::vae::{TinyVae, Vae};
use crate::weights::{BuildOptions, Params, WeightError, Weights};

/// Text encoder, UNet and autoencoder; immutable, shared between threads.
#[derive(Debug)]
pub struct Networks {
    pub text: TextEncoders,
    pub unet: Unet,
    pub vae: Vae,
    /// For previews, if the loader was given one.
    pub preview: Option<TinyVae>,
}

/// What networks are built from: kept, so that they can be built again with adapters or another padding.
#[derive(Debug)]
pub(super) struct Blueprint {
    pub weights: Arc<Weights>,
    pub family: Family,
    /// Each text encoder with its place in the tree of names.
    pub clips: Vec<(&'static str, ClipConfig)>,
    pub unet: UnetConfig,
    pub vae: VaeConfig,
    /// Is there a tiny autoencoder?
    pub taesd: bool,
}

impl Blueprint {
    /// Tensors that `options` leave alone are shared by all networks of this blueprint.
    ///
    /// # Errors
    /// A tensor is missing, of another shape or not finite, or a patch does not fit.
    pub(super) fn build(&self, options: Arc<BuildOptions>) -> Result<Networks, WeightError> {
        let root = Params::with(Arc::clone(&self.weights), options);
        Ok(Networks {
            text: TextEncoders::new(style(self.family), self.encoders(&root)?)?,
            unet: Unet::load(&root.at("unet"), self.unet.clone())?,
            vae: Vae::load(&root.at("vae"), self.vae.clone())?,
            preview: if self.taesd { Some(TinyVae::load(&root.at("taesd"))?) } else { None },
        })
    }

    fn encoders(&self, root: &Params) -> Result<Vec<ClipText>, WeightError> {
        self.clips.iter().map(|(at, clip)| ClipText::load(&root.at(at), clip.clone())).collect()
    }
}

fn style(family: Family) -> TextStyle {
    match family {
        Family::Sd1 | Family::Unknown => TextStyle::Sd1,
        Family::Sd2 => TextStyle::Sd2,
        Family::Sdxl => TextStyle::Sdxl,
        Family::SdxlRefiner => TextStyle::SdxlRefiner,
    }
}
