//! Which method a client means, and the block of the spec that goes with it.

use serde_json::{Map, Value, json};

use super::config::{Config, number, set};
use super::error::TrainingError;
use super::names::shown;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Lora,
    DreamBooth,
    TextualInversion,
    Hypernetwork,
    FullFineTune,
}

impl Method {
    /// The word in a TrainingJob.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Lora => "Lora",
            Self::DreamBooth => "DreamBooth",
            Self::TextualInversion => "TextualInversion",
            Self::Hypernetwork => "Hypernetwork",
            Self::FullFineTune => "FullFineTune",
        }
    }

    /// By the word of the client; `Stable-diffusion` is what its UI sends for DreamBooth, with `use_lora` for a LoRA.
    pub(super) fn of(train_type: &str, config: &mut Config) -> Result<Self, TrainingError> {
        let lora = config.flag("use_lora")?.unwrap_or(false)
            | config.flag("save_lora_for_extra_net")?.unwrap_or(false);
        match train_type.to_ascii_lowercase().as_str() {
            "lora" => Ok(Self::Lora),
            "stable-diffusion" | "dreambooth" if lora => Ok(Self::Lora),
            "stable-diffusion" | "dreambooth" => Ok(Self::DreamBooth),
            "embeddings" | "textualinversion" | "textual_inversion" => Ok(Self::TextualInversion),
            "hypernetworks" | "hypernetwork" => Ok(Self::Hypernetwork),
            "fullfinetune" | "full_fine_tune" => Ok(Self::FullFineTune),
            _ => Err(TrainingError::field(
                "train_type",
                format!(
                    "\"{}\" is not available; Stable-diffusion, dreambooth, Lora, embeddings, hypernetworks and \
                     FullFineTune are",
                    shown(train_type)
                ),
            )),
        }
    }

    /// Adds the block of this method to a spec.
    pub(super) fn block(
        self,
        config: &mut Config,
        spec: &mut Map<String, Value>,
    ) -> Result<(), TrainingError> {
        match self {
            Self::Lora => {
                let rank = config.whole("lora_unet_rank")?;
                let mut block = Map::new();
                set(&mut block, "rank", rank.map(number));
                set(&mut block, "textEncoderRank", config.whole("lora_txt_rank")?.map(number));
                set(&mut block, "alpha", config.whole("lora_alpha")?.map(number));
                set(&mut block, "dropout", config.decimal("lora_dropout")?);
                if config.flag("use_lora_extended")?.unwrap_or(false) {
                    block.insert("convRank".to_owned(), number(rank.unwrap_or(4)));
                }
                spec.insert("lora".to_owned(), block.into());
            }
            Self::TextualInversion => {
                let token = config.text("token")?.ok_or_else(|| {
                    TrainingError::field(config.name("token"), "the word that is to be learned is missing")
                })?;
                let mut block = Map::from_iter([("token".to_owned(), Value::from(token))]);
                set(&mut block, "vectors", config.whole("vectors")?.map(number));
                set(&mut block, "initializerText", config.text("initializer_text")?);
                spec.insert("textualInversion".to_owned(), block.into());
            }
            Self::Hypernetwork => {
                let layer_norm = config.flag("layer_norm")?.unwrap_or(false);
                spec.insert("hypernetwork".to_owned(), json!({"layerNorm": layer_norm}));
            }
            Self::DreamBooth | Self::FullFineTune => {}
        }
        Ok(())
    }
}
