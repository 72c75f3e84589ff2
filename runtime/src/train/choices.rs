//! Choices by name, as the command line and TrainingJobs make them.

use easel_diffusion::train::optim::{Algorithm, UnknownOptimizer};

/// The optimiser of this name, with its own weight decay or another one.
///
/// # Errors
/// There is none of this name.
pub fn algorithm(name: &str, weight_decay: Option<f64>) -> Result<Algorithm, UnknownOptimizer> {
    let algorithm: Algorithm = name.parse()?;
    Ok(match weight_decay {
        Some(decay) => algorithm.with_weight_decay(decay),
        None => algorithm,
    })
}
