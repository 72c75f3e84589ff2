//! What happens to each tensor, decided from headers alone: all that can be refused is refused before
//! anything is written.

use std::collections::BTreeMap;

use crate::weights::{Dtype, Header, Outline, TensorEntry};

use super::arithmetic::Formula;
use super::blocks::Weighting;
use super::error::MergeError;
use super::plan::{MergePlan, OutputPrecision};
use super::vae::{VAE, vae_tensors};

/// Prefix of the UNet in a single file.
pub(super) const UNET: &str = "model.diffusion_model.";
const EMA: &str = "model_ema.";
/// Input channels of an ordinary UNet, and of instruct-pix2pix and inpainting, whose further ones stay.
const ORDINARY: usize = 4;
const EXTENDED: [usize; 2] = [8, 9];
/// Most elements of a convolution whose channels are extended; that of SD has 25,920.
const MAX_EXTENDED: u64 = 1 << 22;

/// Which file a tensor is copied from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    A,
    Vae,
}

/// What becomes of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Copy {
        from: Origin,
        entry: TensorEntry,
    },
    /// `c` is `None` where nothing is subtracted, or the third model lacks the tensor: then the web UI adds
    /// a difference of zero.
    Combine {
        a: TensorEntry,
        b: TensorEntry,
        c: Option<TensorEntry>,
        formula: Formula,
    },
    /// As above where `a` has more input channels than the others; the further ones are `a`'s.
    CombineFirst {
        a: TensorEntry,
        b: TensorEntry,
        c: Option<TensorEntry>,
        formula: Formula,
    },
}

/// Headers of the sources with what to call them.
pub(super) struct Headers<'a> {
    pub a: (&'a Header, &'a str),
    pub b: (&'a Header, &'a str),
    pub c: Option<(&'a Header, &'a str)>,
    pub vae: Option<(&'a Header, &'a str)>,
}

/// A tensor of the output.
#[derive(Debug)]
pub(super) struct Job {
    pub outline: Outline,
    pub action: Action,
}

/// What is to be done, by name.
///
/// # Errors
/// The models do not go together, or a tensor cannot be merged.
pub(super) fn jobs(plan: &MergePlan, headers: &Headers) -> Result<BTreeMap<String, Job>, MergeError> {
    let (a, a_name) = headers.a;
    for (header, name) in [Some(headers.a), Some(headers.b), headers.c].into_iter().flatten() {
        if !header.tensors.keys().any(|key| key.starts_with(UNET)) {
            return Err(MergeError::NotACheckpoint { name: name.to_owned() });
        }
        same_unet(headers.a, (header, name))?;
        same_unet((header, name), headers.a)?;
    }
    let weighting = Weighting::new(plan, a.tensors.keys().map(String::as_str))?;
    let mut jobs = BTreeMap::new();
    for (name, entry) in &a.tensors {
        if (plan.prune_ema && name.starts_with(EMA)) || (plan.vae.is_some() && name.starts_with(VAE)) {
            continue;
        }
        mergeable(name, entry, a_name)?;
        let action = match headers.b.0.tensors.get(name) {
            Some(b) if is_merged(name, entry) => combine(plan, &weighting, name, entry, b, headers)?,
            Some(_) | None => Action::Copy { from: Origin::A, entry: entry.clone() },
        };
        jobs.insert(name.clone(), job(name, entry, action, plan.precision));
    }
    if let Some((header, name)) = headers.vae {
        bake(&mut jobs, plan.precision, (header, name), headers.a)?;
    }
    Ok(jobs)
}

/// Numbers that are no weights (positions, the counters of a training, a schedule's tables) stay `a`'s.
fn is_merged(name: &str, entry: &TensorEntry) -> bool {
    entry.dtype.is_float() && name.contains("model")
}

fn mergeable(tensor: &str, entry: &TensorEntry, name: &str) -> Result<(), MergeError> {
    let small = matches!(
        entry.dtype,
        Dtype::F4
            | Dtype::F6E2m3
            | Dtype::F6E3m2
            | Dtype::F8E5m2
            | Dtype::F8E4m3
            | Dtype::F8E8m0
            | Dtype::C64
    );
    if !small {
        return Ok(());
    }
    let (tensor, name, dtype) = (tensor.to_owned(), name.to_owned(), entry.dtype.name());
    Err(MergeError::Dtype { tensor, name, dtype })
}

/// Every tensor of the one's UNet is in the other's.
fn same_unet(of: (&Header, &str), other: (&Header, &str)) -> Result<(), MergeError> {
    let missing =
        of.0.tensors.keys().find(|key| key.starts_with(UNET) && !other.0.tensors.contains_key(*key));
    missing.map_or(Ok(()), |tensor| {
        let (present, missing) = (of.1.to_owned(), other.1.to_owned());
        Err(MergeError::Structure { tensor: tensor.clone(), present, missing })
    })
}

fn combine(
    plan: &MergePlan,
    weighting: &Weighting,
    name: &str,
    a: &TensorEntry,
    b: &TensorEntry,
    headers: &Headers,
) -> Result<Action, MergeError> {
    let b_name = headers.b.1;
    let float = |entry: &TensorEntry, file: &str| {
        let (tensor, name, dtype) = (name.to_owned(), file.to_owned(), entry.dtype.name());
        if entry.dtype.is_float() { Ok(()) } else { Err(MergeError::Dtype { tensor, name, dtype }) }
    };
    let differ = |left: (&str, &TensorEntry), right: (&str, &TensorEntry)| MergeError::Shape {
        tensor: name.to_owned(),
        left: left.0.to_owned(),
        left_shape: left.1.shape.clone(),
        right: right.0.to_owned(),
        right_shape: right.1.shape.clone(),
    };
    float(b, b_name)?;
    let c = match headers.c {
        Some((header, c_name)) => {
            let c = header.tensors.get(name);
            if let Some(c) = c {
                float(c, c_name)?;
                if c.shape != b.shape {
                    return Err(differ((b_name, b), (c_name, c)));
                }
            }
            c.cloned()
        }
        None => None,
    };
    let formula = Formula::new(plan.method, weighting.of(name));
    let (a, b) = (a.clone(), b.clone());
    if a.shape == b.shape {
        return Ok(Action::Combine { a, b, c, formula });
    }
    if is_extended(&b, &a) {
        return Err(MergeError::WrongOrder { a: headers.a.1.to_owned(), b: b_name.to_owned() });
    }
    if !is_extended(&a, &b) || a.elements() > MAX_EXTENDED {
        return Err(differ((headers.a.1, &a), (b_name, &b)));
    }
    Ok(Action::CombineFirst { a, b, c, formula })
}

/// Has the convolution the further channels of an inpainting model or instruct-pix2pix?
fn is_extended(wide: &TensorEntry, narrow: &TensorEntry) -> bool {
    let ([wo, wi, wh, ww], [no, ni, nh, nw]) = (wide.shape.as_slice(), narrow.shape.as_slice()) else {
        return false;
    };
    (wo, wh, ww) == (no, nh, nw) && EXTENDED.contains(wi) && *ni == ORDINARY
}

/// Puts the autoencoder in the place of `a`'s.
fn bake(
    jobs: &mut BTreeMap<String, Job>,
    precision: Option<OutputPrecision>,
    (vae, vae_name): (&Header, &str),
    (a, a_name): (&Header, &str),
) -> Result<(), MergeError> {
    let tensors = vae_tensors(vae, vae_name)?;
    let of_a = vae_tensors(a, a_name).unwrap_or_default();
    if let Some(tensor) = of_a.keys().find(|name| !tensors.contains_key(*name)) {
        let (present, missing) = (a_name.to_owned(), vae_name.to_owned());
        return Err(MergeError::Structure { tensor: tensor.clone(), present, missing });
    }
    for (name, entry) in tensors {
        mergeable(&name, entry, vae_name)?;
        if let Some(old) = of_a.get(&name).filter(|old| old.shape != entry.shape) {
            return Err(MergeError::Shape {
                tensor: name,
                left: a_name.to_owned(),
                left_shape: old.shape.clone(),
                right: vae_name.to_owned(),
                right_shape: entry.shape.clone(),
            });
        }
        let action = Action::Copy { from: Origin::Vae, entry: entry.clone() };
        jobs.insert(name.clone(), job(&name, entry, action, precision));
    }
    Ok(())
}

fn job(name: &str, entry: &TensorEntry, action: Action, precision: Option<OutputPrecision>) -> Job {
    let dtype = match (entry.dtype, precision) {
        (dtype, Some(precision)) if dtype.is_float() => precision.dtype(),
        (Dtype::F64, None) => Dtype::F32,
        (dtype, _) => dtype,
    };
    Job { outline: Outline { name: name.to_owned(), dtype, shape: entry.shape.clone() }, action }
}
