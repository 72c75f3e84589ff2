//! The shape of a UNet.

use serde_json::{Value, json};

use crate::weights::Params;

use super::error::{ConfigError, divides, within};
use super::json::Json;

const NAME: &str = "unet";
const MAX_LEVELS: usize = 8;
const MAX_LAYERS: usize = 8;
const MAX_CHANNELS: usize = 8192;
/// Most transformer blocks in a row; SDXL has 10.
const MAX_DEPTH: usize = 32;
/// Heads at every level of SD 1.x.
const SD1_HEADS: usize = 8;
/// Width of a head in later models.
const HEAD_WIDTH: usize = 64;

/// Everything needed to build a UNet; one entry per level in the vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct UnetConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    pub channels: Vec<usize>,
    pub layers: usize,
    /// Transformer blocks at each layer of a level; 0 where a level has no attention.
    pub depth: Vec<usize>,
    pub heads: Vec<usize>,
    /// Width of the text that cross-attention reads.
    pub context: usize,
    pub time_channels: usize,
    pub norm_groups: usize,
    pub norm_eps: f64,
    /// Matrices instead of 1x1 convolutions around the transformers' blocks: SD 2.x and SDXL.
    pub linear_projection: bool,
    /// Width of pooled text and micro-conditions together, which SDXL models read.
    pub added: Option<usize>,
    /// Width of the embedded guidance scale, which LCM models read.
    pub guidance: Option<usize>,
}

/// What a UNet reads in place of a bare latent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModelVariant {
    TextToImage,
    /// Latent, mask, latent of the masked picture: 9 channels.
    Inpainting,
    /// Latent, latent of the picture to be edited: 8 channels.
    InstructPix2Pix,
}

impl ModelVariant {
    /// For messages: "an inpainting model".
    pub fn described(self) -> &'static str {
        match self {
            Self::TextToImage => "a text-to-image model",
            Self::Inpainting => "an inpainting model",
            Self::InstructPix2Pix => "an instruct-pix2pix model",
        }
    }
}

impl UnetConfig {
    /// Reads the shapes at `p` (`unet.`) and the `config.json` of a folder.
    ///
    /// Heads cannot be seen in shapes: SD 1.x has 8 at every level, later models have heads of 64, and a
    /// folder's `attention_head_dim` is, in spite of its name, their number (diffusers issue 2011).
    ///
    /// # Errors
    /// A tensor that every UNet has is missing, or a value is out of bounds or unsupported.
    pub fn read(p: &Params, config: Option<&Value>) -> Result<Self, ConfigError> {
        Self::read_class(p, config, "UNet2DConditionModel", "conv_out.weight", 0)
    }

    /// As [`UnetConfig::read`] for a ControlNet (`control.`): the same way down, and no way up.
    ///
    /// # Errors
    /// As for [`UnetConfig::read`].
    pub fn read_control(p: &Params, config: Option<&Value>) -> Result<Self, ConfigError> {
        Self::read_class(p, config, "ControlNetModel", "conv_in.weight", 1)
    }

    /// `out` and `dim` say where the channels of the result are read.
    fn read_class(
        p: &Params,
        config: Option<&Value>,
        class: &str,
        out: &str,
        dim: usize,
    ) -> Result<Self, ConfigError> {
        let json = Json { component: NAME, value: config };
        json.require(&[("_class_name", json!(class))])?;
        json.require(&taken_for_granted())?;
        let conv_in = shape(p, "conv_in.weight")?;
        let out_channels = shape(p, out)?[dim];
        let (channels, depth) = levels(p)?;
        let layers = count(|n| p.has(&format!("down_blocks.0.resnets.{n}.conv1.weight")));
        within(NAME, "layers", layers, MAX_LAYERS)?;
        let linear_projection = shape(p, "mid_block.attentions.0.proj_in.weight")?.len() == 2;
        let width = |name: &str| if p.has(name) { Ok(Some(shape(p, name)?[1])) } else { Ok(None) };
        let this = Self {
            in_channels: conv_in[1],
            out_channels,
            heads: heads(&json, &channels, linear_projection)?,
            context: shape(p, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight")?[1],
            time_channels: shape(p, "time_embedding.linear_1.weight")?[0],
            norm_groups: json.usize("norm_num_groups", 32)?,
            norm_eps: json.f64("norm_eps", 1e-5)?,
            linear_projection,
            added: width("add_embedding.linear_1.weight")?,
            guidance: width("time_embedding.cond_proj.weight")?,
            channels,
            layers,
            depth,
        };
        this.check()
    }

    fn check(self) -> Result<Self, ConfigError> {
        within(NAME, "in_channels", self.in_channels, MAX_CHANNELS)?;
        within(NAME, "out_channels", self.out_channels, MAX_CHANNELS)?;
        for (channels, heads) in self.channels.iter().zip(&self.heads) {
            divides(NAME, "norm_num_groups", self.norm_groups, *channels)?;
            divides(NAME, "attention_head_dim", *heads, *channels)?;
        }
        // The sinusoids fill `channels[0]` values by pairs.
        divides(NAME, "2", 2, self.channels[0])?;
        for depth in &self.depth {
            if *depth > MAX_DEPTH {
                within(NAME, "transformer_layers_per_block", *depth, MAX_DEPTH)?;
            }
        }
        for width in [self.added, self.guidance].into_iter().flatten() {
            within(NAME, "added conditions", width, 1 << 16)?;
        }
        Ok(self)
    }

    /// Transformer blocks of the middle block: those of the last level that has any.
    pub fn mid_depth(&self) -> usize {
        self.depth.iter().rev().copied().find(|d| *d > 0).unwrap_or(1)
    }

    /// What the first convolution reads, told from its channels; `None` for models of other kinds, such
    /// as those that read depth (5 channels) or a small picture (7).
    pub fn variant(&self) -> Option<ModelVariant> {
        let latent = self.out_channels;
        match self.in_channels {
            n if n == latent => Some(ModelVariant::TextToImage),
            n if n == 2 * latent + 1 => Some(ModelVariant::Inpainting),
            n if n == 2 * latent => Some(ModelVariant::InstructPix2Pix),
            _ => None,
        }
    }
}

/// Channels and depth of each level.
fn levels(p: &Params) -> Result<(Vec<usize>, Vec<usize>), ConfigError> {
    let mut channels = Vec::new();
    let mut depth = Vec::new();
    while let Some(s) = p.shape(&format!("down_blocks.{}.resnets.0.conv1.weight", channels.len())) {
        let level = channels.len();
        channels.push(within(NAME, "channels", s.first().copied().unwrap_or(0), MAX_CHANNELS)?);
        depth.push(count(|n| {
            p.has(&format!("down_blocks.{level}.attentions.0.transformer_blocks.{n}.norm1.weight"))
        }));
        within(NAME, "levels", channels.len(), MAX_LEVELS)?;
    }
    within(NAME, "levels", channels.len(), MAX_LEVELS)?;
    Ok((channels, depth))
}

fn heads(json: &Json, channels: &[usize], linear_projection: bool) -> Result<Vec<usize>, ConfigError> {
    let levels = channels.len();
    let key =
        if json.get("num_attention_heads").is_some() { "num_attention_heads" } else { "attention_head_dim" };
    if json.get(key).is_none() && linear_projection {
        return Ok(channels.iter().map(|c| (c / HEAD_WIDTH).max(1)).collect());
    }
    let Some(list) = json.get(key).and_then(Value::as_array) else {
        return Ok(vec![json.usize(key, SD1_HEADS)?; levels]);
    };
    let heads: Option<Vec<usize>> = list.iter().map(|v| v.as_u64().map(|n| n as usize)).collect();
    heads
        .filter(|h| h.len() == levels)
        .ok_or_else(|| json.unsupported(key, &Value::Array(list.clone()), format!("one number or {levels}")))
}

/// The shape of a tensor of at least two dimensions.
fn shape<'a>(p: &'a Params, name: &str) -> Result<&'a [usize], ConfigError> {
    let shape =
        p.shape(name).ok_or_else(|| ConfigError::Missing { component: NAME, tensor: name.to_owned() })?;
    if shape.len() < 2 {
        return Err(ConfigError::Shape { component: NAME, tensor: name.to_owned(), shape: shape.to_vec() });
    }
    Ok(shape)
}

/// How many of 0, 1, 2, … are there; bounded, for names come from files.
fn count(is_there: impl Fn(usize) -> bool) -> usize {
    (0..64).take_while(|n| is_there(*n)).count()
}

fn taken_for_granted() -> Vec<(&'static str, Value)> {
    vec![
        ("act_fn", json!("silu")),
        // Whether there is any is seen in the tensors; another kind of it is not built.
        ("addition_embed_type", json!("text_time")),
        ("addition_time_embed_dim", json!(256)),
        ("attention_type", json!("default")),
        ("center_input_sample", json!(false)),
        ("conv_in_kernel", json!(3)),
        ("conv_out_kernel", json!(3)),
        ("downsample_padding", json!(1)),
        ("dual_cross_attention", json!(false)),
        ("flip_sin_to_cos", json!(true)),
        ("freq_shift", json!(0)),
        ("mid_block_scale_factor", json!(1)),
        ("mid_block_type", json!("UNetMidBlock2DCrossAttn")),
        ("only_cross_attention", json!(false)),
        ("resnet_out_scale_factor", json!(1.0)),
        ("resnet_skip_time_act", json!(false)),
        ("resnet_time_scale_shift", json!("default")),
        ("time_embedding_type", json!("positional")),
        // `null` is never compared, so any value of these is refused.
        ("class_embed_type", Value::Null),
        ("encoder_hid_dim", Value::Null),
        ("num_class_embeds", Value::Null),
        ("timestep_post_act", Value::Null),
    ]
}
