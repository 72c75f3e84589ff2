//! The Kubernetes objects that the facade reads, kept by watches and shown as plain types, and the few
//! calls that it makes to the API server.

mod cluster;
mod convert;
mod directory;
mod reflect;
mod source;
mod training;
mod training_calls;
mod training_views;
mod views;

pub use cluster::{
    Cluster, ClusterError, KubeCluster, Reviewed, SecretData, SecretUse, TokenReviewer, Transfer,
};
#[cfg(test)]
pub(crate) use convert::testing;
pub use directory::{Directory, Feed, Feeds};
pub use reflect::{WatchEnded, watch};
pub use training::{dataset as dataset_view, item, training as training_view};
pub use training_calls::{StatusPart, TrainingCluster};
pub use training_views::{
    DatasetCounts, DatasetView, ItemView, ManifestView, NOTE_ANNOTATION, SampleView, TrainingFigures,
    TrainingState, TrainingView,
};
pub use views::{
    ConditionView, DeclaredFile, EndpointView, FileView, KeyView, LimitsView, MergeView, ModelView, S3View,
    Service, SourceView, TokenRef,
};
