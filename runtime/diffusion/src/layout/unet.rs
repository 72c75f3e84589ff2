//! Names of the UNet: `ldm` numbers its blocks in one line, diffusers by level and layer.
//!
//! `input_blocks.N` is, in order: the first convolution, then per level its layers (a residual block
//! and perhaps a transformer) and, except at the last level, a downsampler. `output_blocks.N` is per
//! level one layer more; an upsampler ends a level inside its last layer's block. So the numbers
//! mean something only once it is known which blocks are samplers.

use std::collections::{BTreeMap, BTreeSet};

/// Largest block number believed; SDXL has 9, SD 1.x 12.
const MAX_BLOCK: usize = 256;

/// The translation for one file.
#[derive(Debug, Default)]
pub struct UnetNames {
    /// `input_blocks.N` of a sampler or a layer.
    input: BTreeMap<usize, Slot>,
    /// `output_blocks.N`.
    output: BTreeMap<usize, Slot>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Slot {
    First,
    Layer { level: usize, layer: usize },
    Downsampler { level: usize },
}

impl UnetNames {
    /// Learns the structure from the names of a file, given without `model.diffusion_model.`.
    pub fn learn<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut input = BTreeSet::new();
        let mut output = BTreeSet::new();
        let mut downsamplers = BTreeSet::new();
        let mut upsampled = BTreeSet::new();
        for name in names {
            let mut parts = name.split('.');
            let (Some(side), Some(Ok(block))) = (parts.next(), parts.next().map(str::parse::<usize>)) else {
                continue;
            };
            if block > MAX_BLOCK {
                continue;
            }
            let (sub, kind) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            match side {
                "input_blocks" => {
                    input.insert(block);
                    if (sub, kind) == ("0", "op") {
                        downsamplers.insert(block);
                    }
                }
                "output_blocks" => {
                    output.insert(block);
                    if sub != "0" && kind == "conv" {
                        upsampled.insert(block);
                    }
                }
                _ => {}
            }
        }
        Self { input: number_input(&input, &downsamplers), output: number_output(&output, &upsampled) }
    }

    /// The diffusers name of an `ldm` name, both without their prefixes.
    pub fn rename(&self, name: &str) -> Option<String> {
        for (old, new) in [
            ("time_embed.0.", "time_embedding.linear_1."),
            ("time_embed.2.", "time_embedding.linear_2."),
            ("time_embed.cond_proj.", "time_embedding.cond_proj."),
            ("label_emb.0.0.", "add_embedding.linear_1."),
            ("label_emb.0.2.", "add_embedding.linear_2."),
            ("out.0.", "conv_norm_out."),
            ("out.2.", "conv_out."),
            ("middle_block.1.", "mid_block.attentions.0."),
        ] {
            if let Some(rest) = name.strip_prefix(old) {
                return Some(format!("{new}{rest}"));
            }
        }
        for (old, new) in
            [("middle_block.0.", "mid_block.resnets.0."), ("middle_block.2.", "mid_block.resnets.1.")]
        {
            if let Some(rest) = name.strip_prefix(old) {
                return Some(format!("{new}{}", resnet(rest)?));
            }
        }
        let (side, rest) = name.split_once('.')?;
        let (block, rest) = rest.split_once('.')?;
        let (sub, rest) = rest.split_once('.')?;
        let block: usize = block.parse().ok()?;
        match side {
            "input_blocks" => input_name(*self.input.get(&block)?, sub, rest),
            "output_blocks" => output_name(*self.output.get(&block)?, sub, rest),
            _ => None,
        }
    }
}

fn number_input(blocks: &BTreeSet<usize>, downsamplers: &BTreeSet<usize>) -> BTreeMap<usize, Slot> {
    let (mut level, mut layer) = (0, 0);
    let mut slots = BTreeMap::new();
    for block in blocks {
        let slot = if *block == 0 {
            Slot::First
        } else if downsamplers.contains(block) {
            level += 1;
            layer = 0;
            Slot::Downsampler { level: level - 1 }
        } else {
            layer += 1;
            Slot::Layer { level, layer: layer - 1 }
        };
        slots.insert(*block, slot);
    }
    slots
}

fn number_output(blocks: &BTreeSet<usize>, upsampled: &BTreeSet<usize>) -> BTreeMap<usize, Slot> {
    let (mut level, mut layer) = (0, 0);
    let mut slots = BTreeMap::new();
    for block in blocks {
        slots.insert(*block, Slot::Layer { level, layer });
        layer += 1;
        if upsampled.contains(block) {
            level += 1;
            layer = 0;
        }
    }
    slots
}

fn input_name(slot: Slot, sub: &str, rest: &str) -> Option<String> {
    match (slot, sub) {
        (Slot::First, "0") => Some(format!("conv_in.{rest}")),
        (Slot::Downsampler { level }, "0") => {
            Some(format!("down_blocks.{level}.downsamplers.0.conv.{}", rest.strip_prefix("op.")?))
        }
        (Slot::Layer { level, layer }, "0") => {
            Some(format!("down_blocks.{level}.resnets.{layer}.{}", resnet(rest)?))
        }
        (Slot::Layer { level, layer }, "1") => Some(format!("down_blocks.{level}.attentions.{layer}.{rest}")),
        _ => None,
    }
}

fn output_name(slot: Slot, sub: &str, rest: &str) -> Option<String> {
    let Slot::Layer { level, layer } = slot else { return None };
    match sub {
        "0" => Some(format!("up_blocks.{level}.resnets.{layer}.{}", resnet(rest)?)),
        "1" | "2" => match rest.strip_prefix("conv.") {
            Some(rest) => Some(format!("up_blocks.{level}.upsamplers.0.conv.{rest}")),
            None => Some(format!("up_blocks.{level}.attentions.{layer}.{rest}")),
        },
        _ => None,
    }
}

fn resnet(rest: &str) -> Option<String> {
    [
        ("in_layers.0.", "norm1."),
        ("in_layers.2.", "conv1."),
        ("emb_layers.1.", "time_emb_proj."),
        ("out_layers.0.", "norm2."),
        ("out_layers.3.", "conv2."),
        ("skip_connection.", "conv_shortcut."),
    ]
    .iter()
    .find_map(|(old, new)| Some(format!("{new}{}", rest.strip_prefix(old)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_sd1_become_levels_and_layers() {
        let mut names: Vec<String> =
            (0..12).map(|n| format!("input_blocks.{n}.0.in_layers.0.weight")).collect();
        names.extend([3, 6, 9].map(|n| format!("input_blocks.{n}.0.op.weight")));
        names.extend((0..12).map(|n| format!("output_blocks.{n}.0.in_layers.0.weight")));
        names.extend(
            ["output_blocks.2.1.conv.bias", "output_blocks.5.2.conv.bias", "output_blocks.8.2.conv.bias"]
                .map(String::from),
        );
        let unet = UnetNames::learn(names.iter().map(String::as_str));
        let cases = [
            ("input_blocks.0.0.weight", Some("conv_in.weight")),
            ("input_blocks.2.1.proj_in.weight", Some("down_blocks.0.attentions.1.proj_in.weight")),
            ("input_blocks.3.0.op.weight", Some("down_blocks.0.downsamplers.0.conv.weight")),
            ("input_blocks.4.0.skip_connection.bias", Some("down_blocks.1.resnets.0.conv_shortcut.bias")),
            ("input_blocks.11.0.emb_layers.1.bias", Some("down_blocks.3.resnets.1.time_emb_proj.bias")),
            ("middle_block.1.norm.bias", Some("mid_block.attentions.0.norm.bias")),
            ("middle_block.2.out_layers.3.bias", Some("mid_block.resnets.1.conv2.bias")),
            ("output_blocks.2.1.conv.bias", Some("up_blocks.0.upsamplers.0.conv.bias")),
            ("output_blocks.3.1.norm.bias", Some("up_blocks.1.attentions.0.norm.bias")),
            ("output_blocks.8.2.conv.bias", Some("up_blocks.2.upsamplers.0.conv.bias")),
            ("output_blocks.11.0.out_layers.0.bias", Some("up_blocks.3.resnets.2.norm2.bias")),
            ("time_embed.2.bias", Some("time_embedding.linear_2.bias")),
            ("out.0.bias", Some("conv_norm_out.bias")),
            ("input_blocks.99.0.op.weight", None),
            ("label_emb.0.2.weight", Some("add_embedding.linear_2.weight")),
            ("label_emb.1.weight", None),
        ];
        for (from, want) in cases {
            assert_eq!(unet.rename(from).as_deref(), want, "{from}");
        }
    }

    #[test]
    fn the_three_levels_of_sdxl_are_counted() {
        let mut names: Vec<String> =
            (0..9).map(|n| format!("input_blocks.{n}.0.in_layers.0.weight")).collect();
        names.extend([3, 6].map(|n| format!("input_blocks.{n}.0.op.weight")));
        names.extend((0..9).map(|n| format!("output_blocks.{n}.0.in_layers.0.weight")));
        names.extend([2, 5].map(|n| format!("output_blocks.{n}.2.conv.weight")));
        let unet = UnetNames::learn(names.iter().map(String::as_str));
        let cases = [
            (
                "input_blocks.4.1.transformer_blocks.1.norm1.bias",
                "down_blocks.1.attentions.0.transformer_blocks.1.norm1.bias",
            ),
            (
                "input_blocks.8.1.transformer_blocks.9.norm1.bias",
                "down_blocks.2.attentions.1.transformer_blocks.9.norm1.bias",
            ),
            ("output_blocks.2.1.proj_in.bias", "up_blocks.0.attentions.2.proj_in.bias"),
            ("output_blocks.2.2.conv.bias", "up_blocks.0.upsamplers.0.conv.bias"),
            ("output_blocks.8.0.skip_connection.bias", "up_blocks.2.resnets.2.conv_shortcut.bias"),
            ("label_emb.0.0.weight", "add_embedding.linear_1.weight"),
        ];
        for (from, want) in cases {
            assert_eq!(unet.rename(from).as_deref(), Some(want), "{from}");
        }
    }
}
