//! From the tensors of one module to its factors.

use std::collections::BTreeMap;

use super::error::AdapterError;
use super::factors::{Factor, Factors, Half, Ia3, Module, Norms, Pair};
use super::keys::Part;
use super::names::Component;
use super::peft::PeftConfigs;

/// The tensors of a module, by what they are.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub factors: BTreeMap<Part, Factor>,
    pub alpha: Option<f64>,
    pub scale: Option<f64>,
    pub on_input: Option<bool>,
}

impl Parts {
    fn take(&mut self, part: Part) -> Option<Factor> {
        self.factors.remove(&part)
    }

    fn has(&self, part: Part) -> bool {
        self.factors.contains_key(&part)
    }

    /// The module; what is left in `self` is of no use to it.
    ///
    /// # Errors
    /// A factor is missing, the factors do not go together, or the method is not known here.
    pub(super) fn module(
        &mut self,
        stem: &str,
        component: Component,
        path: String,
        peft: &PeftConfigs,
    ) -> Result<Module, AdapterError> {
        let unsupported = self.factors.iter().find_map(|(part, f)| match part {
            Part::Unsupported(method) => Some((f.key.clone(), *method)),
            _ => None,
        });
        if let Some((tensor, method)) = unsupported {
            return Err(AdapterError::Method { tensor, method });
        }
        let norms = self.norms()?;
        let factors = self.factors(stem)?;
        let bias = self.take(Part::DiffBias).or_else(|| self.take(Part::NormBias));
        let rank = factors.as_ref().and_then(rank_of);
        let from_alpha = |alpha: f64| rank.map(|rank| alpha / rank as f64);
        let scale = self
            .scale
            .or_else(|| self.alpha.and_then(from_alpha))
            .or_else(|| peft.scale(component, stem, rank?))
            .unwrap_or(1.0);
        if !(scale as f32).is_finite() {
            return Err(AdapterError::Number { tensor: format!("{stem}.alpha"), value: scale });
        }
        let bias = bias.map(Factor::vector).transpose()?;
        Ok(Module { stem: stem.to_owned(), component, path, factors, scale, norms, bias })
    }

    fn norms(&mut self) -> Result<Option<Norms>, AdapterError> {
        if let Some(values) = self.take(Part::Magnitude) {
            return Ok(Some(Norms { values: values.vector()?, of_rows: true }));
        }
        let Some(values) = self.take(Part::DoraScale) else { return Ok(None) };
        let of_rows = values.shape.len() < 2 || values.shape[0] != 1;
        Ok(Some(Norms { values: values.vector()?, of_rows }))
    }

    fn factors(&mut self, stem: &str) -> Result<Option<Factors>, AdapterError> {
        if self.has(Part::Down) || self.has(Part::Up) {
            let pair = self.pair(stem, [Part::Up, Part::Down, Part::Mid], false)?;
            return Ok(Some(Factors::LowRank(pair)));
        }
        if self.has(Part::HadaW1A) || self.has(Part::HadaW2A) {
            let first = self.pair(stem, [Part::HadaW1A, Part::HadaW1B, Part::HadaT1], true)?;
            let second = self.pair(stem, [Part::HadaW2A, Part::HadaW2B, Part::HadaT2], true)?;
            return Ok(Some(Factors::Hadamard(first, second)));
        }
        if [Part::LokrW1, Part::LokrW1A, Part::LokrW2, Part::LokrW2A].iter().any(|p| self.has(*p)) {
            let first = self.half(stem, Part::LokrW1, [Part::LokrW1A, Part::LokrW1B, Part::LokrT2], false)?;
            let second = self.half(stem, Part::LokrW2, [Part::LokrW2A, Part::LokrW2B, Part::LokrT2], true)?;
            return Ok(Some(Factors::Kronecker(first, second)));
        }
        if let Some(by) = self.take(Part::Ia3L) {
            // `[1, in]` scales what a layer reads, `[out, 1]` what it gives.
            // A convolution's is `[1, n, 1, 1]` in both cases, and a guess could be silently wrong.
            if by.shape.len() > 2 {
                let method = "IA3 of convolutions in PEFT's layout";
                return Err(AdapterError::Method { tensor: by.key, method });
            }
            let on_input = by.shape.len() == 2 && by.shape[0] == 1;
            return Ok(Some(Factors::Scaled { by: by.vector()?, on_input, style: Ia3::Absolute }));
        }
        if let Some(on_input) = self.on_input {
            let by = self.needed(stem, Part::Weight, "weight")?.vector()?;
            return Ok(Some(Factors::Scaled { by, on_input, style: Ia3::Offset }));
        }
        Ok(self.take(Part::Diff).or_else(|| self.take(Part::NormWeight)).map(Factors::Full))
    }

    fn needed(&mut self, stem: &str, part: Part, missing: &'static str) -> Result<Factor, AdapterError> {
        self.take(part).ok_or_else(|| AdapterError::Incomplete { module: stem.to_owned(), missing })
    }

    fn pair(&mut self, stem: &str, parts: [Part; 3], transposed: bool) -> Result<Pair, AdapterError> {
        let [up, down, core] = parts;
        let up = self.needed(stem, up, "first factor (`lora_up`, `w1_a`, `w2_a`)")?;
        let down = self.needed(stem, down, "second factor (`lora_down`, `w1_b`, `w2_b`)")?;
        Pair::new(up, down, self.take(core), transposed)
    }

    /// `core` only if this half has one.
    fn half(&mut self, stem: &str, whole: Part, parts: [Part; 3], core: bool) -> Result<Half, AdapterError> {
        if let Some(whole) = self.take(whole) {
            return Ok(Half::Whole(whole.matrix()?));
        }
        let [up, down, t] = parts;
        let up = self.needed(stem, up, "first factor (`lokr_w1_a`, `lokr_w2_a`)")?;
        let down = self.needed(stem, down, "second factor (`lokr_w1_b`, `lokr_w2_b`)")?;
        let t = if core { self.take(t) } else { None };
        Ok(Half::Product(Pair::new(up, down, t, true)?))
    }
}

/// What alpha is divided by; a method without a rank is not scaled.
fn rank_of(factors: &Factors) -> Option<usize> {
    match factors {
        Factors::LowRank(p) | Factors::Hadamard(p, _) => Some(p.rank()),
        Factors::Kronecker(_, Half::Product(p)) | Factors::Kronecker(Half::Product(p), Half::Whole(_)) => {
            Some(p.rank())
        }
        Factors::Kronecker(Half::Whole(_), Half::Whole(_)) | Factors::Full(_) | Factors::Scaled { .. } => {
            None
        }
    }
}
