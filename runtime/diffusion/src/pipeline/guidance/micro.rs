//! What SDXL models are told of the picture besides the text.
//!
//! Facts: SDXL's report (Podell et al. 2023, section 2.2), A1111's `modules/sd_models_xl.py`.

use candle_core::{Device, Result, Tensor};

use crate::inspect::Family;
use crate::text::{Conditioning, Role};
use crate::unet::added_embedding;

/// Aesthetic scores that the refiner is told, for the prompt and for the negative one: A1111's defaults.
const SCORES: (f32, f32) = (6.0, 2.5);

/// Micro-conditioning of a pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::pipeline) enum Micro {
    /// The model reads none.
    None,
    /// Original size, crop, target size: the size of the pass, uncut.
    Sizes { height: f32, width: f32 },
    /// Original size, crop, aesthetic score.
    Score { height: f32, width: f32 },
}

impl Micro {
    /// For a pass that draws pictures of this size in pixels.
    pub fn of(family: Family, height: u32, width: u32) -> Self {
        let (height, width) = (height as f32, width as f32);
        match family {
            Family::Sd1 | Family::Sd2 | Family::Unknown => Self::None,
            Family::Sdxl => Self::Sizes { height, width },
            Family::SdxlRefiner => Self::Score { height, width },
        }
    }

    /// `[1, n]` with the pooled text.
    pub(super) fn added(self, said: &Conditioning, role: Role) -> Result<Option<Tensor>> {
        let ids = match self {
            Self::None => return Ok(None),
            Self::Sizes { height, width } => vec![height, width, 0.0, 0.0, height, width],
            Self::Score { height, width } => {
                let score = if role == Role::Positive { SCORES.0 } else { SCORES.1 };
                vec![height, width, 0.0, 0.0, score]
            }
        };
        let missing = || candle_core::Error::Msg("this model reads pooled text, and there is none".into());
        let pooled = said.pooled.as_ref().ok_or_else(missing)?;
        let count = ids.len();
        let ids = Tensor::from_vec(ids, (1, count), &Device::Cpu)?;
        Ok(Some(added_embedding(pooled, &ids)?))
    }
}
