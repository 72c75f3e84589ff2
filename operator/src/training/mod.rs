//! TrainingJob: a ServiceAccount, a NetworkPolicy, one Job at a time that trains, and in the end the Model that came out.

mod apply;
mod build;
mod controller;
mod dereference;
mod derive_status;
mod inputs;
mod plan;
mod reconcile;
mod result;
mod update_status;
mod validate;

pub use apply::Applied;
pub use build::{Built, build};
pub use controller::controller;
pub use dereference::References;
pub use derive_status::derive_status;
pub use plan::{Plan, plan};
pub use reconcile::{reconcile, reconcile_at};
pub use validate::{InvalidTraining, ValidTraining, validate};
