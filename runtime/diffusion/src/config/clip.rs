//! The shape of a CLIP text encoder.

use serde_json::Value;

use crate::weights::Params;

use super::error::{ConfigError, divides, within};
use super::json::Json;

const NAME: &str = "text_encoder";

/// The activation between the two layers of each feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClipActivation {
    QuickGelu,
    Gelu,
}

/// Who trained an encoder, which decides what a file without `config.json` leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClipOrigin {
    /// CLIP-L: SD 1.x and the first encoder of SDXL.
    OpenAi,
    /// ViT-H and ViT-bigG: SD 2.x, the second encoder of SDXL, the refiner.
    OpenClip,
}

/// Everything needed to build a text encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipConfig {
    pub vocabulary: usize,
    /// Most positions, which is also the length of a chunk: 77.
    pub positions: usize,
    pub width: usize,
    pub feed_forward: usize,
    pub layers: usize,
    pub heads: usize,
    pub activation: ClipActivation,
    pub norm_eps: f32,
    /// Width of the pooled text; absent if the encoder has no projection.
    pub projection: Option<usize>,
    /// The last layer that was trained is not in the files: diffusers stores the encoder of SD 2.x, which
    /// never uses it, that way.
    pub last_layer_dropped: bool,
}

impl ClipConfig {
    /// As [`ClipConfig::read_as`] for an encoder of OpenAI.
    ///
    /// # Errors
    /// As there.
    pub fn read(p: &Params, config: Option<&Value>) -> Result<Self, ConfigError> {
        Self::read_as(p, config, ClipOrigin::OpenAi)
    }

    /// Reads the shapes at `p` (`text.` or `text2.`) and the `config.json` of a folder. Without one, heads
    /// are 64 wide (at least one), as in every single file, and the activation is that of the origin.
    ///
    /// # Errors
    /// A tensor that every encoder has is missing, or a value is out of bounds or unsupported.
    pub fn read_as(p: &Params, config: Option<&Value>, origin: ClipOrigin) -> Result<Self, ConfigError> {
        let json = Json { component: NAME, value: config };
        let [vocabulary, width] = pair(p, "embeddings.token_embedding.weight")?;
        let [positions, _] = pair(p, "embeddings.position_embedding.weight")?;
        let [feed_forward, _] = pair(p, "encoder.layers.0.mlp.fc1.weight")?;
        let layers = (0..128).take_while(|n| p.has(&format!("encoder.layers.{n}.mlp.fc1.weight"))).count();
        let projection = projection(p)?;
        let this = Self {
            vocabulary: within(NAME, "vocabulary", vocabulary, 1 << 20)?,
            positions: within(NAME, "positions", positions, 4096)?,
            width: within(NAME, "width", width, 16384)?,
            feed_forward: within(NAME, "feed_forward", feed_forward, 1 << 17)?,
            layers: within(NAME, "layers", layers, 64)?,
            heads: json.usize("num_attention_heads", (width / 64).max(1))?,
            activation: activation(&json, origin)?,
            norm_eps: json.f64("layer_norm_eps", 1e-5)? as f32,
            projection,
            // Only SD 2.x has an encoder of this origin without a projection.
            last_layer_dropped: origin == ClipOrigin::OpenClip && config.is_some() && projection.is_none(),
        };
        divides(NAME, "num_attention_heads", this.heads, this.width)?;
        Ok(this)
    }
}

fn activation(json: &Json, origin: ClipOrigin) -> Result<ClipActivation, ConfigError> {
    match json.get("hidden_act") {
        None => Ok(match origin {
            ClipOrigin::OpenAi => ClipActivation::QuickGelu,
            ClipOrigin::OpenClip => ClipActivation::Gelu,
        }),
        Some(v) => match v.as_str() {
            Some("quick_gelu") => Ok(ClipActivation::QuickGelu),
            Some("gelu") => Ok(ClipActivation::Gelu),
            _ => Err(json.unsupported("hidden_act", v, "\"quick_gelu\" or \"gelu\"".into())),
        },
    }
}

fn projection(p: &Params) -> Result<Option<usize>, ConfigError> {
    const WEIGHT: &str = "text_projection.weight";
    if !p.has(WEIGHT) {
        return Ok(None);
    }
    let [projection, _] = pair(p, WEIGHT)?;
    within(NAME, "projection", projection, 16384).map(Some)
}

fn pair(p: &Params, name: &str) -> Result<[usize; 2], ConfigError> {
    let shape =
        p.shape(name).ok_or_else(|| ConfigError::Missing { component: NAME, tensor: name.to_owned() })?;
    <[usize; 2]>::try_from(shape).map_err(|_| ConfigError::Shape {
        component: NAME,
        tensor: name.to_owned(),
        shape: shape.to_vec(),
    })
}
