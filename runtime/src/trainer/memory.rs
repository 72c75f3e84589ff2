//! Refuses early what cannot fit into memory: a pod that is killed for its memory says nothing.

use std::path::Path;

use easel_diffusion::train::optim::Algorithm;
use easel_diffusion::weights::read_header;

use super::error::TrainerError;
use crate::engine::memory_limit_bytes;
use crate::train::TrainPlan;

/// All numbers in memory are of this size.
const NUMBER: u64 = 4;
/// A second set of weights that training files may carry and no network reads.
const AVERAGES: &str = "model_ema.";

/// The weights alone: of a single file that says its tensors; a folder is told by the rest.
///
/// # Errors
/// [`TrainerError::Memory`].
pub(super) fn check_base(model: &str, base: &Path) -> Result<(), TrainerError> {
    let Some(limit) = memory_limit_bytes() else { return Ok(()) };
    // What cannot be read is told by who loads it.
    let Ok(header) = read_header(base) else { return Ok(()) };
    let tensors = header.header.tensors.iter().filter(|(name, _)| !name.starts_with(AVERAGES));
    let elements = tensors.map(|(_, tensor)| tensor.elements()).fold(0, u64::saturating_add);
    let what = || format!("the base {model}");
    refuse_beyond(limit, elements.saturating_mul(NUMBER), what)
}

/// What comes on top once the model is there: gradients, the optimiser's states, averages.
///
/// # Errors
/// [`TrainerError::Memory`].
pub(super) fn check_variables(plan: &TrainPlan, variables: u64) -> Result<(), TrainerError> {
    let (Some(limit), Some(used)) = (memory_limit_bytes(), resident_bytes()) else { return Ok(()) };
    let what = || format!("training {variables} numbers with {}", plan.run.algorithm.name());
    refuse_beyond(limit.saturating_sub(used), variables.saturating_mul(bytes_per_variable(plan)), what)
}

fn bytes_per_variable(plan: &TrainPlan) -> u64 {
    let states = match plan.run.algorithm {
        Algorithm::AdamW(_) => 2 * NUMBER,
        Algorithm::AdamW8Bit(_) => 2,
        Algorithm::Adafactor(_) | Algorithm::Sgd(_) => 0,
    };
    let averages = if plan.run.ema.is_some() { NUMBER } else { 0 };
    NUMBER + states + averages
}

fn refuse_beyond(available: u64, need: u64, what: impl FnOnce() -> String) -> Result<(), TrainerError> {
    if need > available {
        return Err(TrainerError::Memory { what: what(), need, available });
    }
    Ok(())
}

/// Memory of this process.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_both_numbers_and_remedies() {
        assert!(refuse_beyond(10, 10, || "x".into()).is_ok());
        let error = refuse_beyond(10, 11, || "the base m".into()).unwrap_err();
        assert_eq!((error.reason(), error.retriable()), ("NotEnoughMemory", false));
        let text = error.to_string();
        for part in ["the base m", "11 bytes", "10 are left", "AdamW8Bit", "memory of the TrainingJob"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(resident_bytes().unwrap() > 1 << 20);
    }
}
