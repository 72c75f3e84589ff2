//! The single-file layout of CompVis `ldm`, which web UIs exchange.

use super::clip::rename_clip;
use super::unet::UnetNames;
use super::vae::rename_ldm_vae;

/// Prefix of the UNet in a single file.
const UNET: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";
const TEXT: &str = "cond_stage_model.transformer.";

/// The translation for one file.
#[derive(Debug)]
pub struct LdmNames {
    unet: UnetNames,
    vae_levels: usize,
}

impl LdmNames {
    /// Learns the numbers of levels and layers from a file's names.
    pub fn learn<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let unet = UnetNames::learn(names.clone().filter_map(|n| n.strip_prefix(UNET)));
        Self { unet, vae_levels: count_decoder_levels(names) }
    }

    /// The crate's name of a tensor. What is no part of the model (EMA copies, the schedule's buffers,
    /// optimiser states) gets none.
    pub fn rename(&self, name: &str) -> Option<String> {
        if let Some(rest) = name.strip_prefix(UNET) {
            Some(format!("unet.{}", self.unet.rename(rest)?))
        } else if let Some(rest) = name.strip_prefix(VAE) {
            Some(format!("vae.{}", rename_ldm_vae(rest, self.vae_levels)?))
        } else if let Some(rest) = name.strip_prefix(TEXT) {
            Some(format!("text.{}", rename_clip(rest)?))
        } else {
            None
        }
    }
}

/// The decoder counts its levels backwards, so their number is part of the translation.
fn count_decoder_levels<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names
        .filter_map(|n| n.strip_prefix(VAE)?.strip_prefix("decoder.up."))
        .filter_map(|n| n.split('.').next()?.parse::<usize>().ok())
        .filter(|level| *level < 16)
        .max()
        .map_or(0, |level| level + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_three_decoder_levels_is_counted_from_its_end() {
        let names = [
            "first_stage_model.decoder.up.0.block.0.conv1.weight",
            "first_stage_model.decoder.up.2.block.0.conv1.weight",
        ];
        let ldm = LdmNames::learn(names.iter().copied());
        assert_eq!(ldm.rename(names[0]).as_deref(), Some("vae.decoder.up_blocks.2.resnets.0.conv1.weight"));
        assert_eq!(ldm.rename(names[1]).as_deref(), Some("vae.decoder.up_blocks.0.resnets.0.conv1.weight"));
    }

    #[test]
    fn what_is_no_part_of_the_model_gets_no_name() {
        let ldm = LdmNames::learn([].into_iter());
        for name in ["model_ema.decay", "alphas_cumprod", "cond_stage_model.logit_scale", "epoch"] {
            assert_eq!(ldm.rename(name), None, "{name}");
        }
        let clip = "cond_stage_model.transformer.text_model.final_layer_norm.bias";
        assert_eq!(ldm.rename(clip).as_deref(), Some("text.final_layer_norm.bias"));
    }
}
