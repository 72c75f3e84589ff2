//! Dataset: a ServiceAccount, a NetworkPolicy and, until its pictures were looked at, a Job that checks them.

mod apply;
mod build;
mod controller;
mod dereference;
mod derive_status;
mod plan;
mod reconcile;
mod result;
mod update_status;
mod users;
mod validate;

pub use apply::Applied;
pub use build::{Built, build};
pub use controller::controller;
pub use dereference::References;
pub use derive_status::derive_status;
pub use plan::{Plan, plan};
pub use reconcile::{reconcile, reconcile_at};
pub use validate::{ValidDataset, validate};
