//! The shape of a UNet.

use serde_json::{Value, json};

use crate::weights::Params;

use super::error::{ConfigError, divides, within};
use super::json::Json;

const NAME: &str = "unet";
const MAX_LEVELS: usize = 8;
const MAX_LAYERS: usize = 8;
const MAX_CHANNELS: usize = 8192;

/// Everything needed to build a UNet of SD 1.x; one entry per level in the vectors.
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
}

impl UnetConfig {
    /// Reads the shapes at `p` (`unet.`) and the `config.json` of a folder.
    ///
    /// Heads cannot be seen in shapes: SD 1.x has 8 at every level, and a folder's
    /// `attention_head_dim` is, in spite of its name, their number (diffusers issue 2011).
    ///
    /// # Errors
    /// A tensor that every UNet has is missing, or a value is out of bounds or unsupported.
    pub fn read(p: &Params, config: Option<&Value>) -> Result<Self, ConfigError> {
        let json = Json { component: NAME, value: config };
        json.require(&taken_for_granted())?;
        let conv_in = shape(p, "conv_in.weight")?;
        let out_channels = shape(p, "conv_out.weight")?[0];
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
        let layers = count(|n| p.has(&format!("down_blocks.0.resnets.{n}.conv1.weight")));
        within(NAME, "layers", layers, MAX_LAYERS)?;
        let this = Self {
            in_channels: conv_in[1],
            out_channels,
            heads: heads(&json, channels.len())?,
            context: shape(p, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight")?[1],
            time_channels: shape(p, "time_embedding.linear_1.weight")?[0],
            norm_groups: json.usize("norm_num_groups", 32)?,
            norm_eps: json.f64("norm_eps", 1e-5)?,
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
            if *depth > MAX_LAYERS {
                within(NAME, "transformer_layers_per_block", *depth, MAX_LAYERS)?;
            }
        }
        Ok(self)
    }

    /// Transformer blocks of the middle block: those of the last level that has any.
    pub fn mid_depth(&self) -> usize {
        self.depth.iter().rev().copied().find(|d| *d > 0).unwrap_or(1)
    }
}

fn heads(json: &Json, levels: usize) -> Result<Vec<usize>, ConfigError> {
    let key =
        if json.get("num_attention_heads").is_some() { "num_attention_heads" } else { "attention_head_dim" };
    let Some(list) = json.get(key).and_then(Value::as_array) else {
        return Ok(vec![json.usize(key, 8)?; levels]);
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
        ("_class_name", json!("UNet2DConditionModel")),
        ("act_fn", json!("silu")),
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
        ("use_linear_projection", json!(false)),
        // `null` is never compared, so any value of these is refused.
        ("addition_embed_type", Value::Null),
        ("attention_type", json!("default")),
        ("class_embed_type", Value::Null),
        ("encoder_hid_dim", Value::Null),
        ("num_class_embeds", Value::Null),
        ("time_cond_proj_dim", Value::Null),
        ("timestep_post_act", Value::Null),
    ]
}
