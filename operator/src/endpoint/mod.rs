//! Endpoint: a ServiceAccount, a Deployment, a Service, a PodDisruptionBudget and a NetworkPolicy.

mod apply;
mod build;
mod controller;
mod dereference;
mod derive_status;
mod reconcile;
mod update_status;
mod validate;

pub use apply::Applied;
#[cfg(test)]
pub(crate) use build::testing;
pub use build::{Built, build};
pub use controller::controller;
pub use dereference::References;
pub use derive_status::derive_status;
pub use reconcile::reconcile;
pub use validate::{InvalidEndpoint, ValidEndpoint, validate};
