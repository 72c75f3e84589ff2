//! Easel's custom resources (`easel.dev/v1alpha1`) as Rust types, and the CustomResourceDefinitions made of
//! them. The types hold no behaviour; reconcilers and the facade do.

pub mod api_key;
pub mod common;
pub mod dataset;
pub mod endpoint;
mod endpoint_parts;
mod endpoint_status;
pub mod generate;
pub mod model;
mod model_merge;
mod model_source;
mod rules;
mod schema;
pub mod training_job;
mod training_parts;

pub use api_key::{ApiKey, ApiKeySpec, ApiKeyStatus};
pub use common::{Condition, LastFailure, ObjectRef};
pub use dataset::{Dataset, DatasetSpec, DatasetStatus};
pub use endpoint::{Endpoint, EndpointSpec, EndpointStatus};
pub use generate::all_crds;
pub use model::{Model, ModelSpec, ModelStatus};
pub use training_job::{TrainingJob, TrainingJobSpec, TrainingJobStatus};
