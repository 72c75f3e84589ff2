//! The Kubernetes objects that the facade reads, kept by watches and shown as plain types, and the few
//! calls that it makes to the API server.

mod cluster;
mod convert;
mod directory;
mod reflect;
mod views;

pub use cluster::{Cluster, ClusterError, KubeCluster, Reviewed, SecretData, Transfer};
pub use directory::{Directory, Feed, Feeds};
pub use reflect::{WatchEnded, watch};
pub use views::{
    ConditionView, DeclaredFile, EndpointView, FileView, KeyView, LimitsView, ModelView, Service, SourceView,
};
