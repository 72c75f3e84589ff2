//! Model: a ServiceAccount and, until its bytes are in the object store, an import Job.

mod apply;
mod build;
mod controller;
mod dereference;
mod derive_status;
mod finalizer;
mod inputs;
mod plan;
mod reconcile;
mod result;
mod training;
mod update_status;
mod users;
mod validate;

pub use apply::Applied;
#[cfg(test)]
pub(crate) use build::testing;
pub use build::{Built, build};
pub use controller::controller;
pub use dereference::References;
pub use derive_status::derive_status;
pub use plan::{Plan, plan};
pub use reconcile::{reconcile, reconcile_at};
pub use users::SeenModels;
pub use validate::{InvalidModel, ValidModel, validate};
