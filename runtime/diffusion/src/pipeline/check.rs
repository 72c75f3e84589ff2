//! What a request may ask of this model.

use crate::config::ModelVariant;

use super::error::GenerateError;
use super::load::Pipeline;
use super::request::{Mode, Request, RequestError};
use super::variants::{VariantError, VariantKey};

impl Pipeline {
    /// Checks a request against its own limits and this model's.
    ///
    /// # Errors
    /// The first value out of its limits, or what this model cannot do.
    pub fn validate(&self, request: &Request) -> Result<(), RequestError> {
        request.validate()?;
        let layers = self.base.text.clip().config().layers as u32;
        if request.clip_skip > layers {
            return Err(RequestError::ClipSkipOfModel { value: request.clip_skip, layers });
        }
        self.check_channels(request)?;
        if !self.base.vae.config().has_encoder
            && let Some(what) = needs_encoder(request)
        {
            return Err(RequestError::NoEncoder { what });
        }
        Ok(())
    }

    /// The first convolution says whether the model needs a mask or a picture.
    fn check_channels(&self, request: &Request) -> Result<(), RequestError> {
        match (self.variant, &request.mode) {
            (ModelVariant::Inpainting, Mode::TextToImage | Mode::ImageToImage(_)) => {
                Err(RequestError::NeedsMask { model: self.describe_variant() })
            }
            (ModelVariant::InstructPix2Pix, Mode::TextToImage) => {
                Err(RequestError::NeedsPicture { model: self.describe_variant() })
            }
            (ModelVariant::Inpainting | ModelVariant::TextToImage, _)
                if request.image_guidance_scale.is_some() =>
            {
                Err(RequestError::NotAnEditModel { model: self.describe_variant() })
            }
            (ModelVariant::Inpainting | ModelVariant::InstructPix2Pix | ModelVariant::TextToImage, _) => {
                Ok(())
            }
        }
    }

    /// The refiner must be there if it is asked for, and go on with this model's latents.
    pub(super) fn check_refiner(
        &self,
        request: &Request,
        refiner: Option<&Self>,
    ) -> Result<(), RequestError> {
        if request.refiner_switch_at.is_none() {
            return Ok(());
        }
        let refiner = refiner.ok_or(RequestError::NoRefiner)?;
        let (here, there) = (self.base.vae.config(), refiner.base.vae.config());
        if here.latent_channels != there.latent_channels || here.scaling_factor != there.scaling_factor {
            let why = format!(
                "they have {} channels and the scale {}, its own {} and {}",
                here.latent_channels, here.scaling_factor, there.latent_channels, there.scaling_factor
            );
            return Err(RequestError::RefinerDiffers { why });
        }
        if refiner.variant != self.variant {
            let why = "one of the two is an inpainting or instruct-pix2pix model".to_owned();
            return Err(RequestError::RefinerDiffers { why });
        }
        Ok(())
    }

    /// Refuses what would not fit into memory, and makes room for the rest at the cost of kept variants.
    ///
    /// # Errors
    /// It does not fit; or an adapter is for another model.
    pub(super) fn check_memory(&self, request: &Request, key: &VariantKey) -> Result<(), GenerateError> {
        let more = self.variant_bytes(key).map_err(VariantError::from)?;
        let needed = self.estimate_bytes(request).saturating_add(more);
        self.make_room(key, needed);
        match self.options.memory_limit_bytes {
            Some(available) if needed > available => Err(GenerateError::Memory { needed, available }),
            Some(_) | None => Ok(()),
        }
    }
}

fn needs_encoder(request: &Request) -> Option<&'static str> {
    use super::request::Upscaler;
    if request.mode.source().is_some() {
        return Some("a picture to start from");
    }
    match request.hires.as_ref().map(|h| h.upscaler) {
        Some(Upscaler::Lanczos | Upscaler::Nearest) => Some("an upscaler of pixels"),
        Some(Upscaler::Latent(_)) | None => None,
    }
}
