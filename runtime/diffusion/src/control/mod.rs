//! ControlNets: what steers a picture's composition besides its prompt.
//!
//! [`ControlNet`] is the network; a [`ControlUnit`] is a request's use of one: picture, weight, steps,
//! mode. [`preprocess`] makes hints from pictures.

mod error;
mod hint;
mod load;
mod mode;
mod network;
pub mod preprocess;
mod unit;

pub use error::ControlError;
pub use hint::{HINT_SCALE, fit_hint, hint_tensor};
pub use load::ControlOptions;
pub use mode::{ControlMode, UnknownControlMode};
pub use network::{ControlNet, HintEmbedding};
pub use unit::{ActiveUnit, ControlUnit, MAX_UNITS, sum_residuals};
