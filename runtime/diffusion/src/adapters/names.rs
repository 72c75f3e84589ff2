//! The names by which adapters call a model's modules: its tensors' names with underscores, in the words
//! of diffusers and in those of `ldm`.
//!
//! Underscored names cannot be taken apart again (`to_out_0`, `time_emb_proj`), so they are made from the
//! names the model really has, and looked up. Facts: kohya-ss `sd-scripts` `networks/lora.py`
//! (`LORA_PREFIX_*`), diffusers' `loaders/lora_conversion_utils.py`, the block arithmetic of CompVis'
//! `openaimodel.py`.

use std::collections::{BTreeMap, HashMap};

use crate::weights::Weights;

/// A network that adapters change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    Unet,
    Text,
    /// SDXL's second text encoder.
    Text2,
}

impl Component {
    const ALL: [Self; 3] = [Self::Unet, Self::Text, Self::Text2];

    /// What its tensors' names begin with inside the engine.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Unet => "unet.",
            Self::Text => "text.",
            Self::Text2 => "text2.",
        }
    }
}

/// The modules of one model.
#[derive(Debug, Default)]
pub struct ModelNames {
    /// Underscored name to the engine's, which has dots and the component's prefix.
    modules: HashMap<(Component, String), String>,
    /// Tensors of the three networks.
    shapes: BTreeMap<String, Vec<usize>>,
}

impl ModelNames {
    /// Learns the names of a model.
    pub fn of(weights: &Weights) -> Self {
        Self::learn(weights.shapes())
    }

    /// Learns from the engine's names and shapes.
    pub fn learn<'a>(tensors: impl Iterator<Item = (&'a str, &'a [usize])>) -> Self {
        let mut this = Self::default();
        for (name, shape) in tensors {
            if Component::ALL.iter().any(|c| name.starts_with(c.prefix())) {
                this.shapes.insert(name.to_owned(), shape.to_vec());
            }
        }
        let blocks = Blocks::of(&this.shapes);
        for name in this.shapes.keys() {
            let Some((module, _)) = name.rsplit_once('.') else { continue };
            for component in Component::ALL {
                let Some(rest) = module.strip_prefix(component.prefix()) else { continue };
                this.modules.insert((component, rest.replace('.', "_")), module.to_owned());
                if component == Component::Unet
                    && let Some(ldm) = blocks.ldm_name(rest)
                {
                    this.modules.insert((component, ldm.replace('.', "_")), module.to_owned());
                }
            }
        }
        this
    }

    /// Has the model this network at all?
    pub fn has(&self, component: Component) -> bool {
        self.shapes.keys().any(|name| name.starts_with(component.prefix()))
    }

    /// The engine's name of a module that an adapter calls `underscored`.
    pub(super) fn module(&self, component: Component, underscored: &str) -> Option<&str> {
        let find = |name: String| self.modules.get(&(component, name)).map(String::as_str);
        // The attention processors of older diffusers say `to_out` for the `to_out.0` that has the weight.
        find(underscored.to_owned()).or_else(|| find(format!("{underscored}_0")))
    }

    /// The shape of a tensor of the engine's naming.
    pub(super) fn shape(&self, tensor: &str) -> Option<&[usize]> {
        self.shapes.get(tensor).map(Vec::as_slice)
    }
}

/// How many layers a level has and which levels have transformers: what the numbers of `ldm` depend on.
#[derive(Debug)]
pub(crate) struct Blocks {
    layers: usize,
    /// Levels of the way up that have transformers.
    attends: Vec<bool>,
}

impl Blocks {
    /// Counts them in a model's tensors.
    pub(crate) fn of(shapes: &BTreeMap<String, Vec<usize>>) -> Self {
        // Bounded, since the names come from a file.
        let count =
            |name: &dyn Fn(usize) -> String| (0..64).take_while(|n| shapes.contains_key(&name(*n))).count();
        let layers = count(&|n| format!("unet.down_blocks.0.resnets.{n}.conv1.weight"));
        let levels = count(&|n| format!("unet.up_blocks.{n}.resnets.0.conv1.weight"));
        let attends = (0..levels)
            .map(|n| shapes.contains_key(&format!("unet.up_blocks.{n}.attentions.0.norm.weight")))
            .collect();
        Self { layers, attends }
    }

    /// The `ldm` name of a UNet's module, without `model.diffusion_model.`.
    pub(crate) fn ldm_name(&self, module: &str) -> Option<String> {
        const FIXED: &[(&str, &str)] = &[
            ("conv_in", "input_blocks.0.0"),
            ("time_embedding.linear_1", "time_embed.0"),
            ("time_embedding.linear_2", "time_embed.2"),
            ("time_embedding.cond_proj", "time_embed.cond_proj"),
            ("add_embedding.linear_1", "label_emb.0.0"),
            ("add_embedding.linear_2", "label_emb.0.2"),
            ("conv_norm_out", "out.0"),
            ("conv_out", "out.2"),
        ];
        if let Some((_, ldm)) = FIXED.iter().find(|row| row.0 == module) {
            return Some((*ldm).to_owned());
        }
        let parts: Vec<&str> = module.splitn(5, '.').collect();
        let number = |at: usize| parts.get(at)?.parse::<usize>().ok().filter(|n| *n < 64);
        let tail = |at: usize| module.splitn(at + 1, '.').nth(at);
        match *parts.first()? {
            "mid_block" => match *parts.get(1)? {
                "attentions" => Some(format!("middle_block.1.{}", tail(3)?)),
                "resnets" => Some(format!("middle_block.{}.{}", number(2)? * 2, resnet(tail(3)?)?)),
                _ => None,
            },
            "down_blocks" => {
                let first = 1 + number(1)? * (self.layers + 1);
                match *parts.get(2)? {
                    "resnets" => Some(format!("input_blocks.{}.0.{}", first + number(3)?, resnet(tail(4)?)?)),
                    "attentions" => Some(format!("input_blocks.{}.1.{}", first + number(3)?, tail(4)?)),
                    "downsamplers" => Some(format!("input_blocks.{}.0.op", first + self.layers)),
                    _ => None,
                }
            }
            "up_blocks" => {
                let (level, first) = (number(1)?, number(1)? * (self.layers + 1));
                match *parts.get(2)? {
                    "resnets" => {
                        Some(format!("output_blocks.{}.0.{}", first + number(3)?, resnet(tail(4)?)?))
                    }
                    "attentions" => Some(format!("output_blocks.{}.1.{}", first + number(3)?, tail(4)?)),
                    "upsamplers" => {
                        let place = if *self.attends.get(level)? { 2 } else { 1 };
                        Some(format!("output_blocks.{}.{place}.conv", first + self.layers))
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn resnet(module: &str) -> Option<&'static str> {
    Some(match module {
        "norm1" => "in_layers.0",
        "conv1" => "in_layers.2",
        "time_emb_proj" => "emb_layers.1",
        "norm2" => "out_layers.0",
        "conv2" => "out_layers.3",
        "conv_shortcut" => "skip_connection",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SDXL's levels: two layers each, none of the first level's attends.
    fn sdxl() -> ModelNames {
        let mut names = vec!["unet.conv_in.weight".to_owned(), "unet.add_embedding.linear_2.bias".into()];
        for level in 0..3 {
            for layer in 0..2 {
                names.push(format!("unet.down_blocks.{level}.resnets.{layer}.conv1.weight"));
                if level > 0 {
                    names.push(format!(
                        "unet.down_blocks.{level}.attentions.{layer}.transformer_blocks.0.attn2.to_out.0.weight"
                    ));
                }
            }
            for layer in 0..3 {
                names.push(format!("unet.up_blocks.{level}.resnets.{layer}.conv1.weight"));
                if level < 2 {
                    names.push(format!("unet.up_blocks.{level}.attentions.{layer}.norm.weight"));
                }
            }
        }
        for tensor in [
            "down_blocks.0.downsamplers.0.conv",
            "up_blocks.0.upsamplers.0.conv",
            "mid_block.resnets.1.conv2",
        ] {
            names.push(format!("unet.{tensor}.weight"));
        }
        names.push("text.encoder.layers.0.self_attn.q_proj.weight".into());
        ModelNames::learn(names.iter().map(|n| (n.as_str(), &[4, 4][..])))
    }

    #[test]
    fn both_namings_find_the_module() {
        let names = sdxl();
        let cases = [
            (Component::Unet, "input_blocks_0_0", Some("unet.conv_in")),
            (Component::Unet, "label_emb_0_2", Some("unet.add_embedding.linear_2")),
            (
                Component::Unet,
                "input_blocks_4_1_transformer_blocks_0_attn2_to_out_0",
                Some("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0"),
            ),
            (
                Component::Unet,
                "down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_out",
                Some("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0"),
            ),
            (Component::Unet, "input_blocks_8_0_in_layers_2", Some("unet.down_blocks.2.resnets.1.conv1")),
            (Component::Unet, "input_blocks_3_0_op", Some("unet.down_blocks.0.downsamplers.0.conv")),
            (Component::Unet, "output_blocks_2_2_conv", Some("unet.up_blocks.0.upsamplers.0.conv")),
            (Component::Unet, "output_blocks_5_1_norm", Some("unet.up_blocks.1.attentions.2.norm")),
            (Component::Unet, "middle_block_2_out_layers_3", Some("unet.mid_block.resnets.1.conv2")),
            (
                Component::Text,
                "encoder_layers_0_self_attn_q_proj",
                Some("text.encoder.layers.0.self_attn.q_proj"),
            ),
            (Component::Unet, "encoder_layers_0_self_attn_q_proj", None),
        ];
        for (component, name, want) in cases {
            assert_eq!(names.module(component, name), want, "{name}");
        }
        assert!(names.has(Component::Text) && !names.has(Component::Text2));
    }
}
