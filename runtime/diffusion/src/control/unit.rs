//! A request's use of a ControlNet, and several at once.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use super::error::ControlError;
use super::hint::{HINT_SCALE, fit_hint, hint_tensor};
use super::mode::ControlMode;
use super::network::{ControlNet, HintEmbedding};
use super::preprocess::Prepared;
use crate::raster::ResizeMode;
use crate::unet::{ControlResiduals, UnetInput};

/// Most units of a request: the extension's limit.
pub const MAX_UNITS: usize = 10;
/// Greatest weight, as in the extension.
const MAX_WEIGHT: f32 = 2.0;

/// One ControlNet with its hint.
#[derive(Debug, Clone)]
pub struct ControlUnit {
    pub net: Arc<ControlNet>,
    pub hint: Prepared,
    /// 0 to 2; 1 is as trained.
    pub weight: f32,
    /// Shares of the steps, from 0 to 1, between which it works, both included.
    pub start: f32,
    pub end: f32,
    pub mode: ControlMode,
    /// How the hint is brought to the picture's size.
    pub resize_mode: ResizeMode,
}

impl ControlUnit {
    /// At full weight from the first step to the last.
    pub fn new(net: Arc<ControlNet>, hint: Prepared) -> Self {
        Self {
            net,
            hint,
            weight: 1.0,
            start: 0.0,
            end: 1.0,
            mode: ControlMode::default(),
            resize_mode: ResizeMode::CropAndResize,
        }
    }

    /// Checks the numbers and embeds the hint for pictures of this size. `unit` counts from 0 for
    /// messages.
    ///
    /// # Errors
    /// A number is out of range, a side is no multiple of 8, or the hint cannot be used.
    pub fn activate(
        &self,
        unit: usize,
        width: u32,
        height: u32,
    ) -> std::result::Result<ActiveUnit, ControlError> {
        if !(width as usize).is_multiple_of(HINT_SCALE) || !(height as usize).is_multiple_of(HINT_SCALE) {
            return Err(ControlError::Size { width, height });
        }
        for (what, value, minimum, maximum) in [
            ("weight", self.weight, 0.0, MAX_WEIGHT),
            ("start", self.start, 0.0, 1.0),
            ("end", self.end, self.start, 1.0),
        ] {
            if !(minimum..=maximum).contains(&value) {
                return Err(ControlError::Range { unit, what, value, minimum, maximum });
            }
        }
        let hint = fit_hint(&self.hint, self.resize_mode, width, height)
            .map_err(|source| ControlError::Hint { unit, width, height, source })?;
        let embedding = hint_tensor(&hint).and_then(|hint| self.net.embed(&hint));
        Ok(ActiveUnit {
            net: Arc::clone(&self.net),
            hint: embedding.map_err(|source| ControlError::Tensor { source })?,
            weight: self.weight,
            start: self.start,
            end: self.end,
            mode: self.mode,
        })
    }
}

/// A unit for pictures of one size.
#[derive(Debug, Clone)]
pub struct ActiveUnit {
    net: Arc<ControlNet>,
    hint: HintEmbedding,
    weight: f32,
    start: f32,
    end: f32,
    mode: ControlMode,
}

impl ActiveUnit {
    /// Activates all units of a request.
    ///
    /// # Errors
    /// There are too many, or as for [`ControlUnit::activate`].
    pub fn all(
        units: &[ControlUnit],
        width: u32,
        height: u32,
    ) -> std::result::Result<Vec<Self>, ControlError> {
        if units.len() > MAX_UNITS {
            return Err(ControlError::TooMany { count: units.len(), limit: MAX_UNITS });
        }
        units.iter().enumerate().map(|(n, unit)| unit.activate(n, width, height)).collect()
    }

    /// The same unit as the extension runs it in the second pass of a hires fix when its hint is of thin
    /// lines (canny, mlsd): as if the prompt were more important.
    pub fn softened(self) -> Self {
        let mode = match self.mode {
            ControlMode::Balanced => ControlMode::Prompt,
            ControlMode::Prompt | ControlMode::Control => self.mode,
        };
        Self { mode, ..self }
    }

    /// Does it work at step `step` (from 0) of `steps`?
    pub fn works_at(&self, step: usize, steps: usize) -> bool {
        let share = step as f32 / steps.max(1) as f32;
        self.weight > 0.0 && share >= self.start && share <= self.end
    }

    /// The residuals, scaled. `conditional` says of each sample whether it is given the prompt: the
    /// others get zeros where the mode or the network asks for it.
    ///
    /// # Errors
    /// A tensor has another shape than the network reads.
    pub fn residuals(&self, input: &UnetInput, conditional: &[bool]) -> Result<ControlResiduals> {
        let raw = self.net.forward(input, &self.hint)?;
        let scales = self.mode.scales(self.weight, raw.down.len() + 1);
        let marks = (self.mode.only_conditional() || self.net.global_pool())
            .then(|| marks(conditional))
            .transpose()?;
        let finish = |residual: &Tensor, scale: f64| {
            let marked = match &marks {
                Some(marks) => residual.broadcast_mul(marks)?,
                None => residual.clone(),
            };
            let scaled = (marked * scale)?;
            if self.net.global_pool() { pooled(&scaled) } else { Ok(scaled) }
        };
        let down = raw.down.iter().zip(&scales).map(|(residual, scale)| finish(residual, *scale));
        Ok(ControlResiduals {
            down: down.collect::<Result<_>>()?,
            mid: finish(&raw.mid, scales[scales.len() - 1])?,
        })
    }
}

/// 1 for samples with the prompt, 0 for those without, `[batch, 1, 1, 1]`.
fn marks(conditional: &[bool]) -> Result<Tensor> {
    let values: Vec<f32> = conditional.iter().map(|c| f32::from(u8::from(*c))).collect();
    Tensor::from_vec(values, (conditional.len(), 1, 1, 1), &Device::Cpu)
}

/// Every position becomes its channel's mean.
fn pooled(residual: &Tensor) -> Result<Tensor> {
    let shape = residual.shape();
    residual.flatten_from(2)?.mean_keepdim(2)?.unsqueeze(3)?.broadcast_as(shape)?.contiguous()
}

/// The sum of what all units that work at this step add; `None` if none does.
///
/// # Errors
/// As for [`ActiveUnit::residuals`], or the networks are of different shapes.
pub fn sum_residuals(
    units: &[ActiveUnit],
    input: &UnetInput,
    conditional: &[bool],
    (step, steps): (usize, usize),
) -> Result<Option<ControlResiduals>> {
    let mut sum: Option<ControlResiduals> = None;
    for unit in units.iter().filter(|unit| unit.works_at(step, steps)) {
        let more = unit.residuals(input, conditional)?;
        sum = Some(match sum {
            None => more,
            Some(sum) => add(&sum, &more)?,
        });
    }
    Ok(sum)
}

fn add(a: &ControlResiduals, b: &ControlResiduals) -> Result<ControlResiduals> {
    if a.down.len() != b.down.len() {
        candle_core::bail!("ControlNets of {} and of {} residuals", a.down.len(), b.down.len());
    }
    let down = a.down.iter().zip(&b.down).map(|(a, b)| a + b).collect::<Result<_>>()?;
    Ok(ControlResiduals { down, mid: (&a.mid + &b.mid)? })
}
