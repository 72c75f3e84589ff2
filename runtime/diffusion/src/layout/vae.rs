//! Names of the autoencoder.

use std::fmt::Write;

/// Prefix of the autoencoder in a single file; files that hold nothing else may have it too.
pub(super) const PREFIX: &str = "first_stage_model.";

/// The translation for a file that holds an autoencoder, alone or among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaeNames {
    Diffusers,
    /// With the number of levels, which its decoder counts backwards.
    Ldm {
        levels: usize,
    },
}

impl VaeNames {
    /// Learns the layout from a file's names, with or without `first_stage_model.`.
    pub fn learn<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut levels = 0;
        for name in names {
            let name = name.strip_prefix(PREFIX).unwrap_or(name);
            if name.starts_with("decoder.up_blocks.") {
                return Self::Diffusers;
            }
            let level = name.strip_prefix("decoder.up.").and_then(|rest| rest.split('.').next());
            let level = level.and_then(|n| n.parse::<usize>().ok()).filter(|level| *level < 16);
            levels = level.map_or(levels, |level| levels.max(level + 1));
        }
        Self::Ldm { levels }
    }

    /// The name in diffusers' `AutoencoderKL`.
    pub fn rename(self, name: &str) -> Option<String> {
        let name = name.strip_prefix(PREFIX).unwrap_or(name);
        match self {
            Self::Diffusers => rename_diffusers_vae(name),
            Self::Ldm { levels } => rename_ldm_vae(name, levels),
        }
    }
}

/// diffusers' own names; before 0.18 the attention of the middle block was spelled differently.
pub fn rename_diffusers_vae(name: &str) -> Option<String> {
    let known = ["encoder.", "decoder.", "quant_conv.", "post_quant_conv."];
    if !known.iter().any(|k| name.starts_with(k)) {
        return None;
    }
    let mut out = name.to_owned();
    for (old, new) in
        [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")]
    {
        out = out.replace(old, new);
    }
    Some(out)
}

/// `ldm`'s names, without `first_stage_model.`; `levels` because its decoder counts levels upwards in
/// resolution from the end (`up.0` is the last), diffusers' from the start.
pub fn rename_ldm_vae(name: &str, levels: usize) -> Option<String> {
    if name.starts_with("quant_conv.") || name.starts_with("post_quant_conv.") {
        return Some(name.to_owned());
    }
    let (side, rest) = name.split_once('.')?;
    if side != "encoder" && side != "decoder" {
        return None;
    }
    let mut parts = rest.split('.');
    let mut out = format!("{side}.");
    match parts.next()? {
        part @ ("conv_in" | "conv_out") => out.push_str(part),
        "norm_out" => out.push_str("conv_norm_out"),
        "mid" => match parts.next()? {
            "block_1" => push_resnet(&mut out, "mid_block.resnets.0", &mut parts)?,
            "block_2" => push_resnet(&mut out, "mid_block.resnets.1", &mut parts)?,
            "attn_1" => {
                out.push_str("mid_block.attentions.0.");
                out.push_str(match parts.next()? {
                    "norm" => "group_norm",
                    "q" => "to_q",
                    "k" => "to_k",
                    "v" => "to_v",
                    "proj_out" => "to_out.0",
                    _ => return None,
                });
            }
            _ => return None,
        },
        direction @ ("down" | "up") => push_level(&mut out, direction, levels, &mut parts)?,
        _ => return None,
    }
    for part in parts {
        write!(out, ".{part}").ok()?;
    }
    Some(out)
}

fn push_level<'a>(
    out: &mut String,
    direction: &str,
    levels: usize,
    parts: &mut impl Iterator<Item = &'a str>,
) -> Option<()> {
    let index: usize = parts.next()?.parse().ok()?;
    let level = if direction == "up" { levels.checked_sub(index + 1)? } else { index };
    match parts.next()? {
        "block" => {
            let block: usize = parts.next()?.parse().ok()?;
            push_resnet(out, &format!("{direction}_blocks.{level}.resnets.{block}"), parts)
        }
        "downsample" => write!(out, "down_blocks.{level}.downsamplers.0").ok(),
        "upsample" => write!(out, "up_blocks.{level}.upsamplers.0").ok(),
        _ => None,
    }
}

fn push_resnet<'a>(out: &mut String, at: &str, parts: &mut impl Iterator<Item = &'a str>) -> Option<()> {
    let part = match parts.next()? {
        "nin_shortcut" => "conv_shortcut",
        part @ ("norm1" | "conv1" | "norm2" | "conv2") => part,
        _ => return None,
    };
    write!(out, "{at}.{part}").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldm_names_become_those_of_diffusers() {
        let cases = [
            ("encoder.conv_in.weight", Some("encoder.conv_in.weight")),
            (
                "encoder.down.1.block.0.nin_shortcut.bias",
                Some("encoder.down_blocks.1.resnets.0.conv_shortcut.bias"),
            ),
            (
                "encoder.down.2.downsample.conv.weight",
                Some("encoder.down_blocks.2.downsamplers.0.conv.weight"),
            ),
            ("decoder.up.0.block.2.conv1.weight", Some("decoder.up_blocks.3.resnets.2.conv1.weight")),
            ("decoder.up.3.upsample.conv.bias", Some("decoder.up_blocks.0.upsamplers.0.conv.bias")),
            ("decoder.mid.attn_1.proj_out.weight", Some("decoder.mid_block.attentions.0.to_out.0.weight")),
            ("decoder.mid.attn_1.norm.bias", Some("decoder.mid_block.attentions.0.group_norm.bias")),
            ("decoder.mid.block_2.norm2.bias", Some("decoder.mid_block.resnets.1.norm2.bias")),
            ("decoder.norm_out.weight", Some("decoder.conv_norm_out.weight")),
            ("post_quant_conv.bias", Some("post_quant_conv.bias")),
            ("decoder.up.9.block.0.conv1.weight", None),
            ("loss.logvar", None),
            ("decoder", None),
        ];
        for (from, want) in cases {
            assert_eq!(rename_ldm_vae(from, 4).as_deref(), want, "{from}");
        }
    }

    #[test]
    fn old_attention_names_of_diffusers_are_understood() {
        let old = "decoder.mid_block.attentions.0.proj_attn.bias";
        assert_eq!(
            rename_diffusers_vae(old).as_deref(),
            Some("decoder.mid_block.attentions.0.to_out.0.bias")
        );
        assert_eq!(rename_diffusers_vae("loss.x"), None);
    }
}
