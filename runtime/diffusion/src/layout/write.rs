//! From the crate's names to those of a single file: the inverse of what this folder reads.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use crate::adapters::UnetBlocks;
use crate::inspect::Family;

/// Translates the tensors of one model.
#[derive(Debug)]
pub(crate) struct LdmWriter {
    family: Family,
    /// The last layer of the text encoder is left out, as folders of SD 2.x do.
    last_layer_dropped: bool,
    unet: UnetBlocks,
    /// Levels of the autoencoder.
    levels: usize,
}

impl LdmWriter {
    /// Learns the numbers of levels and layers from the model's tensors.
    pub fn new(family: Family, last_layer_dropped: bool, tensors: &BTreeMap<String, Tensor>) -> Self {
        let shapes = tensors.iter().map(|(name, t)| (name.clone(), t.dims().to_vec())).collect();
        let has = |level: &usize| {
            tensors.contains_key(&format!("vae.decoder.up_blocks.{level}.resnets.0.conv1.weight"))
        };
        Self {
            family,
            last_layer_dropped,
            unet: UnetBlocks::of(&shapes),
            levels: (0..16).take_while(has).count(),
        }
    }

    /// The file's tensors; a name that no single file has is left out.
    pub fn tensors(&self, tensors: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Tensor>> {
        let mut out = BTreeMap::new();
        for (name, tensor) in tensors {
            let Some((part, rest)) = name.split_once('.') else { continue };
            match part {
                "unet" => {
                    if let Some((module, leaf)) = rest.rsplit_once('.')
                        && let Some(ldm) = self.unet.ldm_name(module)
                    {
                        out.insert(format!("model.diffusion_model.{ldm}.{leaf}"), tensor.clone());
                    }
                }
                "vae" => {
                    if let Some((ldm, is_attention)) = vae_name(rest, self.levels) {
                        // There these are convolutions, whose weights folders store as matrices.
                        let tensor = match *tensor.dims() {
                            [out, input] if is_attention => tensor.reshape((out, input, 1, 1))?,
                            _ => tensor.clone(),
                        };
                        out.insert(format!("first_stage_model.{ldm}"), tensor);
                    }
                }
                _ => {}
            }
        }
        for part in ["text", "text2"] {
            let start = format!("{part}.");
            let own =
                tensors.iter().filter_map(|(n, t)| Some((n.strip_prefix(&start)?.to_owned(), t.clone())));
            let own: BTreeMap<String, Tensor> = own.collect();
            if own.is_empty() {
                continue;
            }
            let prefix = match (self.family, part) {
                (Family::Sdxl, "text") => "conditioner.embedders.0.transformer.text_model.",
                (Family::Sdxl, _) => "conditioner.embedders.1.model.",
                (Family::SdxlRefiner, _) => "conditioner.embedders.0.model.",
                (Family::Sd2, _) => "cond_stage_model.model.",
                (Family::Sd1 | Family::Unknown, _) => "cond_stage_model.transformer.text_model.",
            };
            let named =
                if prefix.ends_with("text_model.") { own } else { open_clip(own, self.last_layer_dropped)? };
            out.extend(named.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
        }
        Ok(out)
    }
}

/// The name in `ldm`, and whether it is of the attention.
fn vae_name(name: &str, levels: usize) -> Option<(String, bool)> {
    let (module, leaf) = name.rsplit_once('.')?;
    if matches!(module, "quant_conv" | "post_quant_conv") {
        return Some((name.to_owned(), false));
    }
    let (side, rest) = module.split_once('.')?;
    if let Some(member) = rest.strip_prefix("mid_block.attentions.0.") {
        let (_, new) =
            [("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")]
                .into_iter()
                .find(|(old, _)| *old == member)?;
        return Some((format!("{side}.mid.attn_1.{new}.{leaf}"), true));
    }
    let parts: Vec<&str> = rest.split('.').collect();
    let resnet = |at: usize| match *parts.get(at)? {
        "conv_shortcut" => Some("nin_shortcut"),
        member => Some(member),
    };
    let number = |at: usize| parts.get(at)?.parse::<usize>().ok();
    let new = match *parts.first()? {
        part @ ("conv_in" | "conv_out") => part.to_owned(),
        "conv_norm_out" => "norm_out".to_owned(),
        "mid_block" => format!("mid.block_{}.{}", number(2)? + 1, resnet(3)?),
        blocks @ ("down_blocks" | "up_blocks") => {
            let (way, level) = match blocks {
                "down_blocks" => ("down", number(1)?),
                _ => ("up", levels.checked_sub(number(1)? + 1)?),
            };
            match *parts.get(2)? {
                "resnets" => format!("{way}.{level}.block.{}.{}", number(3)?, resnet(4)?),
                "downsamplers" => format!("{way}.{level}.downsample.conv"),
                "upsamplers" => format!("{way}.{level}.upsample.conv"),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some((format!("{side}.{new}.{leaf}"), false))
}

/// OpenCLIP's names: queries, keys and values in one tensor, the projection from the other side.
fn open_clip(own: BTreeMap<String, Tensor>, last_layer_dropped: bool) -> Result<BTreeMap<String, Tensor>> {
    const MEMBERS: &[(&str, &str)] = &[
        ("layer_norm1", "ln_1"),
        ("layer_norm2", "ln_2"),
        ("self_attn.out_proj", "attn.out_proj"),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
    ];
    let mut out = BTreeMap::new();
    let layers =
        (0..128).take_while(|n| own.contains_key(&format!("encoder.layers.{n}.mlp.fc1.weight"))).count();
    for n in 0..layers {
        for leaf in ["weight", "bias"] {
            for (old, new) in MEMBERS {
                if let Some(tensor) = own.get(&format!("encoder.layers.{n}.{old}.{leaf}")) {
                    out.insert(format!("transformer.resblocks.{n}.{new}.{leaf}"), tensor.clone());
                }
            }
            let stacked: Vec<&Tensor> = ["q_proj", "k_proj", "v_proj"]
                .iter()
                .filter_map(|p| own.get(&format!("encoder.layers.{n}.self_attn.{p}.{leaf}")))
                .collect();
            if stacked.len() == 3 {
                out.insert(
                    format!("transformer.resblocks.{n}.attn.in_proj_{leaf}"),
                    Tensor::cat(&stacked, 0)?,
                );
            }
        }
    }
    // Without the last layer, which SD 2.x never reads and folders leave out, a reader would take the one
    // before for it.
    if last_layer_dropped && layers > 0 {
        let last = format!("transformer.resblocks.{}.", layers - 1);
        let copies: Vec<(String, Tensor)> = out
            .iter()
            .filter_map(|(name, t)| Some((name.strip_prefix(&last)?, t)))
            .map(|(rest, t)| (format!("transformer.resblocks.{layers}.{rest}"), t.clone()))
            .collect();
        out.extend(copies);
    }
    for (old, new) in [
        ("embeddings.position_embedding.weight", "positional_embedding"),
        ("embeddings.token_embedding.weight", "token_embedding.weight"),
        ("final_layer_norm.weight", "ln_final.weight"),
        ("final_layer_norm.bias", "ln_final.bias"),
    ] {
        if let Some(tensor) = own.get(old) {
            out.insert(new.to_owned(), tensor.clone());
        }
    }
    if let Some(projection) = own.get("text_projection.weight") {
        out.insert("text_projection".to_owned(), projection.t()?.contiguous()?);
    }
    Ok(out)
}
