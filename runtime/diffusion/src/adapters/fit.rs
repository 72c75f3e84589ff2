//! An adapter and a model brought together: which tensors it changes, checked before anything is computed.

use std::collections::HashMap;
use std::sync::Arc;

use candle_core::Tensor;

use crate::inspect::Family;
use crate::weights::{WeightError, WeightPatch};

use super::error::{AdapterError, Misfit};
use super::factors::{Difference, Factors, Module};
use super::load::Adapter;
use super::names::{Component, ModelNames};

/// An adapter that fits a model.
#[derive(Debug, Clone)]
pub struct FittedAdapter {
    adapter: Arc<Adapter>,
    /// The engine's module name to the module's place in the adapter.
    targets: Arc<HashMap<String, usize>>,
    unknown: Arc<[String]>,
    changed: u64,
}

impl Adapter {
    /// Finds the tensors of a model that this adapter changes, and checks every shape.
    ///
    /// # Errors
    /// It is for a model of another family or size, or nothing of it is in this model.
    pub fn fit(self: &Arc<Self>, model: &ModelNames) -> Result<FittedAdapter, AdapterError> {
        let mut targets = HashMap::new();
        let mut unknown = self.unknown.clone();
        let mut misfits: Vec<(String, Vec<usize>, Difference)> = Vec::new();
        let mut changed = 0_u64;
        for (index, module) in self.modules.iter().enumerate() {
            let place = model.module(module.component, &module.path);
            let Some(place) = place.filter(|place| !targets.contains_key(*place)) else {
                unknown.push(module.stem.clone());
                continue;
            };
            for (leaf, wanted) in [("weight", module.factors.is_some()), ("bias", module.bias.is_some())] {
                let name = format!("{place}.{leaf}");
                match model.shape(&name) {
                    Some(shape) if wanted => {
                        changed += shape.iter().map(|d| *d as u64).product::<u64>();
                        let misfit = if leaf == "weight" {
                            misfit(module, place, shape)
                        } else {
                            misfit_of_bias(module, shape)
                        };
                        misfits.extend(misfit.map(|m| (name, shape.to_vec(), m)));
                    }
                    None if wanted => unknown.push(format!("{}.{leaf}", module.stem)),
                    Some(_) | None => {}
                }
            }
            targets.insert(place.to_owned(), index);
        }
        // The width of the text tells families apart, so it makes the clearest message.
        let clearest = misfits.iter().position(|(name, ..)| name.ends_with("attn2.to_k.weight")).unwrap_or(0);
        if let Some((target, target_shape, m)) = misfits.into_iter().nth(clearest) {
            return Err(self.other_model(target, target_shape, m));
        }
        self.check_networks(model, targets.is_empty())?;
        Ok(FittedAdapter {
            adapter: Arc::clone(self),
            targets: Arc::new(targets),
            unknown: unknown.into(),
            changed,
        })
    }

    fn other_model(&self, target: String, target_shape: Vec<usize>, d: Difference) -> AdapterError {
        let Difference { tensor, shape, side, found, expected } = d;
        let family = self.family;
        Box::new(Misfit { tensor, shape, side, found, expected, target, target_shape, family }).into()
    }

    fn check_networks(&self, model: &ModelNames, nothing_fits: bool) -> Result<(), AdapterError> {
        let second = self.modules.iter().find(|m| m.component == Component::Text2);
        if let Some(module) = second.filter(|m| !model.has(m.component)) {
            return Err(AdapterError::NoNetwork { tensor: module.stem.clone(), family: Family::Sdxl });
        }
        let Some(first) = self.modules.first().filter(|_| nothing_fits) else { return Ok(()) };
        Err(AdapterError::NothingFits {
            path: self.path.clone(),
            count: self.modules.len(),
            example: first.stem.clone(),
            family: self.family,
        })
    }
}

/// Adapters trained on the plain model may change the four first of an inpainting model's nine channels.
fn misfit(module: &Module, place: &str, shape: &[usize]) -> Option<Difference> {
    let misfit = module.misfit(shape)?;
    if let ("unet.conv_in", [out, input, h, w]) = (place, shape)
        && *input > 4
        && !matches!(module.factors, Some(Factors::Scaled { .. }))
        && module.norms.is_none()
        && module.misfit(&[*out, 4, *h, *w]).is_none()
    {
        return None;
    }
    Some(misfit)
}

fn misfit_of_bias(module: &Module, shape: &[usize]) -> Option<Difference> {
    let bias = module.bias.as_ref()?;
    let (found, expected) = (bias.tensor.elem_count(), shape.iter().product());
    let (tensor, shape) = (bias.key.clone(), bias.shape.clone());
    (found != expected).then_some(Difference { tensor, shape, side: "elements", found, expected })
}

impl FittedAdapter {
    /// Keys and modules of the file that mean nothing to this model; they are passed over.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// How many modules of the model it changes.
    pub fn modules(&self) -> usize {
        self.targets.len()
    }

    /// Memory of the tensors that networks with this adapter do not share with those without.
    pub fn changed_bytes(&self) -> u64 {
        self.changed * 4
    }

    /// The adapter at a weight for the UNet and one for the text encoders; 0 changes nothing, 1 is as
    /// trained, negative weights are the opposite.
    pub fn patch(&self, unet_weight: f32, text_weight: f32) -> Arc<dyn WeightPatch> {
        Arc::new(AdapterPatch {
            adapter: Arc::clone(&self.adapter),
            targets: Arc::clone(&self.targets),
            unet_weight,
            text_weight,
        })
    }
}

#[derive(Debug)]
struct AdapterPatch {
    adapter: Arc<Adapter>,
    targets: Arc<HashMap<String, usize>>,
    unet_weight: f32,
    text_weight: f32,
}

impl WeightPatch for AdapterPatch {
    fn apply(&self, name: &str, base: &Tensor) -> Result<Option<Tensor>, WeightError> {
        let Some((module, leaf)) = name.rsplit_once('.') else { return Ok(None) };
        let found = self.targets.get(module).and_then(|index| self.adapter.modules.get(*index));
        let Some(module) = found else { return Ok(None) };
        let strength = match module.component {
            Component::Unet => self.unet_weight,
            Component::Text | Component::Text2 => self.text_weight,
        };
        // Not a change by zero, which would turn -0.0 into 0.0.
        if strength == 0.0 {
            return Ok(None);
        }
        let failed = |source| WeightError::Tensor { name: module.stem.clone(), source };
        let changed = match leaf {
            "weight" => module.weight(base, strength).map_err(failed)?,
            "bias" => module.bias(base, strength).map_err(failed)?,
            _ => None,
        };
        let Some(changed) = changed else { return Ok(None) };
        match first_infinite(&changed).map_err(failed)? {
            Some((index, value)) => Err(WeightError::NotFinite { name: module.stem.clone(), index, value }),
            None => Ok(Some(changed)),
        }
    }
}

/// The first value that is not finite. If there is one, the sum is not finite either; only then are the
/// values looked at one by one.
fn first_infinite(x: &Tensor) -> candle_core::Result<Option<(usize, f32)>> {
    if x.sum_all()?.to_scalar::<f32>()?.is_finite() {
        return Ok(None);
    }
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.into_iter().enumerate().find(|(_, value)| !value.is_finite()))
}
