//! The single-file layouts of CompVis `ldm` and Stability `sgm`, which web UIs exchange.

use crate::weights::TensorEntry;

use super::clip::rename_clip;
use super::open_clip::split_open_clip;
use super::unet::UnetNames;
use super::vae::{PREFIX as VAE, VaeNames};

/// Prefix of the UNet in a single file.
const UNET: &str = "model.diffusion_model.";

/// Whose names a text encoder's tensors have.
#[derive(Debug, Clone, Copy)]
enum Text {
    Transformers,
    OpenClip,
}

/// Where text encoders stand in a single file, and the crate's prefix for each: SD 1.x, SD 2.x, SDXL's
/// first, the refiner's only one, SDXL's second.
const TEXTS: &[(&str, Text, &str)] = &[
    ("cond_stage_model.transformer.", Text::Transformers, "text"),
    ("cond_stage_model.model.", Text::OpenClip, "text"),
    ("conditioner.embedders.0.transformer.", Text::Transformers, "text"),
    ("conditioner.embedders.0.model.", Text::OpenClip, "text2"),
    ("conditioner.embedders.1.model.", Text::OpenClip, "text2"),
];

/// The translation for one file.
#[derive(Debug)]
pub struct LdmNames {
    unet: UnetNames,
    vae: VaeNames,
}

impl LdmNames {
    /// Learns the numbers of levels and layers from a file's names.
    pub fn learn<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        let unet = UnetNames::learn(names.clone().filter_map(|n| n.strip_prefix(UNET)));
        Self { unet, vae: VaeNames::learn(names.filter(|n| n.starts_with(VAE))) }
    }

    /// What a tensor of the file is under the crate's names. What is no part of the model (EMA copies,
    /// the schedule's buffers, optimiser states) is nothing.
    pub fn split(&self, name: &str, entry: &TensorEntry) -> Vec<(String, TensorEntry)> {
        for (prefix, kind, part) in TEXTS {
            let (Some(rest), Text::OpenClip) = (name.strip_prefix(prefix), kind) else { continue };
            let named = |(n, entry): (String, TensorEntry)| (format!("{part}.{n}"), entry);
            return split_open_clip(rest, entry).into_iter().map(named).collect();
        }
        self.rename(name).map(|new| (new, entry.clone())).into_iter().collect()
    }

    /// The crate's name of a tensor that keeps its shape; see [`LdmNames::split`] for all of them.
    pub fn rename(&self, name: &str) -> Option<String> {
        if let Some(rest) = name.strip_prefix(UNET) {
            return Some(format!("unet.{}", self.unet.rename(rest)?));
        }
        if name.starts_with(VAE) {
            return Some(format!("vae.{}", self.vae.rename(name)?));
        }
        TEXTS.iter().find_map(|(prefix, kind, part)| match kind {
            Text::Transformers => Some(format!("{part}.{}", rename_clip(name.strip_prefix(prefix)?)?)),
            Text::OpenClip => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Dtype;

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

    #[test]
    fn each_familys_text_encoders_are_found() {
        let ldm = LdmNames::learn([].into_iter());
        let entry = TensorEntry { dtype: Dtype::F16, shape: vec![4], begin: 0, end: 8, strides: None };
        let cases = [
            ("cond_stage_model.model.ln_final.bias", "text.final_layer_norm.bias"),
            (
                "conditioner.embedders.0.transformer.text_model.final_layer_norm.bias",
                "text.final_layer_norm.bias",
            ),
            ("conditioner.embedders.0.model.ln_final.bias", "text2.final_layer_norm.bias"),
            ("conditioner.embedders.1.model.ln_final.bias", "text2.final_layer_norm.bias"),
        ];
        for (name, want) in cases {
            let parts = ldm.split(name, &entry);
            assert_eq!(parts, [(want.to_owned(), entry.clone())], "{name}");
        }
    }
}
