//! One sample of a pass.

use candle_core::{Device, Result, Tensor};

use crate::unet::{ControlResiduals, Unet, UnetInput};

/// What the UNet is given for one picture under one prompt. Every tensor has a batch of one.
#[derive(Debug, Clone)]
pub(in crate::pipeline) struct Row {
    /// `[1, in_channels, h, w]`.
    pub x: Tensor,
    pub timestep: f32,
    /// `[1, tokens, width]`.
    pub context: Tensor,
    /// `[1, n]`.
    pub added: Option<Tensor>,
    /// `[1, n]`.
    pub guidance: Option<Tensor>,
    pub control: Option<ControlResiduals>,
}

impl Row {
    /// Can both be samples of one tensor? Prompts of other length cannot: padding the shorter one would
    /// change its picture.
    pub(super) fn fits(&self, other: &Self) -> bool {
        self.x.dims() == other.x.dims()
            && self.context.dims() == other.context.dims()
            && self.added.is_some() == other.added.is_some()
            && self.guidance.is_some() == other.guidance.is_some()
            && self.control.as_ref().map(|c| c.down.len()) == other.control.as_ref().map(|c| c.down.len())
    }
}

/// One pass over rows that fit one another; as many tensors `[1, out_channels, h, w]` as rows.
pub(super) fn merged(unet: &Unet, rows: &[&Row]) -> Result<Vec<Tensor>> {
    let join = |part: fn(&Row) -> &Tensor| stack(rows.iter().map(|r| part(r)));
    let timesteps: Vec<f32> = rows.iter().map(|r| r.timestep).collect();
    let timesteps = Tensor::new(timesteps, &Device::Cpu)?;
    let (x, context) = (join(|r| &r.x)?, join(|r| &r.context)?);
    let join_some = |part: fn(&Row) -> Option<&Tensor>| {
        let parts: Option<Vec<&Tensor>> = rows.iter().map(|r| part(r)).collect();
        parts.map(|parts| stack(parts.into_iter())).transpose()
    };
    let (added, guidance) = (join_some(|r| r.added.as_ref())?, join_some(|r| r.guidance.as_ref())?);
    let control: Vec<&ControlResiduals> = rows.iter().filter_map(|r| r.control.as_ref()).collect();
    let control = join_control(&control)?;
    let input = UnetInput {
        x: &x,
        timesteps: &timesteps,
        context: &context,
        added: added.as_ref(),
        guidance: guidance.as_ref(),
        control: control.as_ref(),
    };
    let out = unet.forward(&input)?;
    (0..rows.len()).map(|i| out.narrow(0, i, 1)?.contiguous()).collect()
}

fn stack<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Result<Tensor> {
    let tensors: Vec<&Tensor> = tensors.collect();
    if let [one] = tensors[..] {
        return one.contiguous();
    }
    Tensor::cat(&tensors, 0)?.contiguous()
}

fn join_control(parts: &[&ControlResiduals]) -> Result<Option<ControlResiduals>> {
    let Some(first) = parts.first() else { return Ok(None) };
    let down =
        (0..first.down.len()).map(|i| stack(parts.iter().map(|c| &c.down[i]))).collect::<Result<_>>()?;
    Ok(Some(ControlResiduals { down, mid: stack(parts.iter().map(|c| &c.mid))? }))
}
