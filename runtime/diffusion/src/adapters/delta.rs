//! The arithmetic of adapters, in f32.
//!
//! LoRA: W + up·down · alpha/rank · weight. LoHa: the product of two such, element by element. LoKr: a
//! Kronecker product. DoRA: of W + change the rows (or columns) get the norms that the file says; what that
//! changes is multiplied by the weight. IA3: rows or columns multiplied by 1 + value · weight.
//!
//! The order of operations is that of the web UI (`network.py`, `finalize_updown`), which at a weight of 1
//! is also that of PEFT (`get_delta_weight`, `DoraLinearLayer`) and LyCORIS (`get_merged_weight`). At other
//! weights of DoRA the three differ; the web UI's goes from the model to the adapted model in a straight
//! line and is taken. LyCORIS' `get_diff_weight` of LoHa and LoKr multiplies by the scale twice; its
//! `forward`, which is what was trained, does not, and neither do the others.

use candle_core::{Result, Tensor};

use super::factors::{Factors, Half, Ia3, Module, Norms, Pair};

impl Module {
    /// The new weight for `base`, which [`Module::misfit`] accepted; `None` leaves it as it is.
    pub(super) fn weight(&self, base: &Tensor, strength: f32) -> Result<Option<Tensor>> {
        let Some(factors) = &self.factors else { return Ok(None) };
        let strength = f64::from(strength);
        let changed = match factors {
            Factors::Scaled { by, on_input, style } => {
                let side = usize::from(*on_input);
                base.broadcast_mul(&along(&multiplier(&by.tensor, *style, strength)?, base, side)?)?
            }
            Factors::Full(_) | Factors::LowRank(_) | Factors::Hadamard(..) | Factors::Kronecker(..) => {
                let change = times(shaped(&product(factors)?, base)?, self.scale)?;
                let change = match &self.norms {
                    Some(norms) => normed_change(base, &change, norms)?,
                    None => change,
                };
                (base + times(change, strength)?)?
            }
        };
        Ok(Some(changed))
    }

    /// The new bias for `base`; `None` leaves it as it is.
    pub(super) fn bias(&self, base: &Tensor, strength: f32) -> Result<Option<Tensor>> {
        let strength = f64::from(strength);
        if let Some(bias) = &self.bias {
            return Ok(Some((base + (bias.tensor.reshape(base.shape())? * strength)?)?));
        }
        match &self.factors {
            Some(Factors::Scaled { by, on_input: false, style: Ia3::Absolute }) => {
                Ok(Some((base * multiplier(&by.tensor, Ia3::Absolute, strength)?)?))
            }
            _ => Ok(None),
        }
    }
}

/// A multiplication by one is a pass over the memory for nothing.
fn times(x: Tensor, factor: f64) -> Result<Tensor> {
    if factor == 1.0 { Ok(x) } else { x * factor }
}

/// `[out, in · kernel]`, or any shape for a full difference.
fn product(factors: &Factors) -> Result<Tensor> {
    match factors {
        Factors::Full(f) | Factors::Scaled { by: f, .. } => Ok(f.tensor.clone()),
        Factors::LowRank(p) => multiplied(p),
        Factors::Hadamard(a, b) => multiplied(a)? * multiplied(b)?,
        Factors::Kronecker(a, b) => kronecker(&half(a)?, &half(b)?),
    }
}

/// `[out, in · kernel]`. With a core: Σ up[o,n] · core[n,m,k] · down[m,i].
fn multiplied(pair: &Pair) -> Result<Tensor> {
    let (up, down) = (&pair.up.tensor, &pair.down.tensor);
    let Some(core) = &pair.core else { return up.matmul(down) };
    let (n, m, kernel) = core.tensor.dims3()?;
    let (out, input) = (up.dim(0)?, down.dim(1)?);
    let rows = up.matmul(&core.tensor.reshape((n, m * kernel))?)?;
    let rows = rows.reshape((out, m, kernel))?.transpose(1, 2)?.contiguous()?.reshape((out * kernel, m))?;
    let all = rows.matmul(down)?.reshape((out, kernel, input))?;
    all.transpose(1, 2)?.contiguous()?.reshape((out, input * kernel))
}

fn half(half: &Half) -> Result<Tensor> {
    match half {
        Half::Whole(f) => Ok(f.tensor.clone()),
        Half::Product(p) => multiplied(p),
    }
}

/// `[a, c]` and `[b, d]` to `[a·b, c·d]`.
fn kronecker(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let ((a, c), (b, d)) = (left.dims2()?, right.dims2()?);
    let left = left.reshape((a, 1, c, 1))?;
    left.broadcast_mul(&right.reshape((1, b, 1, d))?)?.reshape((a * b, c * d))
}

/// In the shape of `base`. A change for four input channels of an inpainting model's nine leaves the
/// others alone.
fn shaped(change: &Tensor, base: &Tensor) -> Result<Tensor> {
    if change.elem_count() == base.elem_count() {
        return change.reshape(base.shape());
    }
    let (out, input, height, width) = base.dims4()?;
    let change = change.reshape((out, (), height, width))?;
    let missing = input.saturating_sub(change.dim(1)?);
    change.pad_with_zeros(1, 0, missing)
}

/// What multiplies the rows or columns at this strength.
fn multiplier(by: &Tensor, style: Ia3, strength: f64) -> Result<Tensor> {
    match style {
        Ia3::Offset => by.affine(strength, 1.0),
        Ia3::Absolute => by.affine(strength, 1.0 - strength),
    }
}

/// A vector along one side of `base`, ready to broadcast.
fn along(vector: &Tensor, base: &Tensor, side: usize) -> Result<Tensor> {
    let mut shape = vec![1; base.rank()];
    shape[side] = vector.elem_count();
    vector.reshape(shape)
}

/// What DoRA changes of `base`: (W + change) · norms / |W + change| - W.
fn normed_change(base: &Tensor, change: &Tensor, norms: &Norms) -> Result<Tensor> {
    let merged = (base + change)?;
    let side = usize::from(!norms.of_rows);
    let rows = merged.transpose(0, side)?.contiguous()?.flatten_from(1)?;
    // LyCORIS adds the epsilon; a row of zeros stays one instead of becoming NaN.
    let lengths = (rows.sqr()?.sum(1)?.sqrt()? + f64::from(f32::EPSILON))?;
    let ratio = (&norms.values.tensor / lengths)?;
    merged.broadcast_mul(&along(&ratio, base, side)?)? - base
}
