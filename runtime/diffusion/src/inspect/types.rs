//! The answer to "what is this file".

use std::fmt;

use serde::{Deserialize, Serialize};

use super::about::About;

/// Facts from a header (or the headers of a folder).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    pub kind: Kind,
    pub family: Family,
    /// What the UNet predicts; `None` where shapes cannot tell (SD 2.x) or there is no UNet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prediction_type: Option<PredictionType>,
    /// The element type of most of the bytes.
    pub precision: Precision,
    pub tensors: u64,
    pub parameters: u64,
    /// Size of the file, or of all weight files of a folder.
    pub size_bytes: u64,
    /// The title its maker wrote into the metadata, at most 200 characters.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub title: Option<String>,
    /// Of an adapter: what kind of network it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub adapter: Option<AdapterFacts>,
    /// What its maker says.
    #[serde(flatten, default)]
    pub about: About,
}

/// What names and shapes say of an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdapterFacts {
    pub network: Network,
    /// All different ranks of its modules, rising, at most the 16 largest; empty for methods without one.
    pub ranks: Vec<u32>,
}

/// How an adapter stores its changes. A file that mixes them is called by the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Network {
    /// Directions and norms apart; also on top of LoHa and LoKr.
    DoRa,
    LoKr,
    LoHa,
    Oft,
    GLora,
    Ia3,
    /// LoRA of convolutions wider than one pixel too.
    LoCon,
    Lora,
    /// Whole differences.
    Full,
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    Checkpoint,
    Lora,
    TextualInversion,
    Hypernetwork,
    ControlNet,
    Vae,
    Upscaler,
    Unet,
    TextEncoder,
    Unknown,
}

/// Which models a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    Sd1,
    Sd2,
    Sdxl,
    SdxlRefiner,
    Unknown,
}

/// What the UNet's output stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PredictionType {
    Epsilon,
    VPrediction,
}

/// Element type of a file's weights; `Mixed` when no type has nine tenths of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Precision {
    F32,
    F16,
    Bf16,
    F8,
    Mixed,
    Other,
}

macro_rules! display_as_debug {
    ($($name:ty),+) => {
        $(impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                // `pad` so that tables can align it.
                f.pad(&format!("{self:?}"))
            }
        })+
    };
}
display_as_debug!(Kind, Network, Family, PredictionType, Precision);
