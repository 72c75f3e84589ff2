//! What all pods of the runtime image have in common: rights, identity, scratch space.

use std::collections::BTreeMap;

use easel_protocol::worker::AUDIENCE;
use k8s_openapi::api::core::v1::{
    Capabilities, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, ProjectedVolumeSource, SeccompProfile,
    SecurityContext, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// User and group of every container (the images' user).
const USER: i64 = 65532;
/// The kubelet renews the token when four fifths of this are over.
const TOKEN_SECONDS: i64 = 3600;
const TOKEN_DIR: &str = "/var/run/secrets/easel";
const TOKEN_VOLUME: &str = "easel-token";
/// Where a container says why it ended.
pub const TERMINATION_LOG: &str = "/dev/termination-log";

/// The pod's part of the `restricted` Pod Security Standard.
pub fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..Default::default()
    }
}

/// As [`pod_security`], for a pod with a volume that others use too: its files are given to our group only if the
/// volume's root is not yet, instead of one by one at each start of a pod, which takes minutes for many files.
pub fn pod_security_with_shared_volume() -> PodSecurityContext {
    PodSecurityContext { fs_group_change_policy: Some("OnRootMismatch".to_owned()), ..pod_security() }
}

/// The container's part of the `restricted` Pod Security Standard.
pub fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
        read_only_root_filesystem: Some(true),
        ..Default::default()
    }
}

/// The worker's token: good for the facade only, renewed by the kubelet.
pub fn token_volume() -> (Volume, VolumeMount) {
    let token = ServiceAccountTokenProjection {
        audience: Some(AUDIENCE.to_owned()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: "token".to_owned(),
    };
    let source = ProjectedVolumeSource {
        default_mode: None,
        sources: Some(vec![VolumeProjection { service_account_token: Some(token), ..Default::default() }]),
    };
    let volume = Volume { name: TOKEN_VOLUME.to_owned(), projected: Some(source), ..Default::default() };
    let mut mount = mount(TOKEN_VOLUME, TOKEN_DIR);
    mount.read_only = Some(true);
    (volume, mount)
}

/// Scratch space on the node's disk; a pod that outgrows it is evicted.
pub fn scratch(name: &str, path: &str, limit: &Quantity) -> (Volume, VolumeMount) {
    let source = EmptyDirVolumeSource { size_limit: Some(limit.clone()), medium: None };
    let volume = Volume { name: name.to_owned(), empty_dir: Some(source), ..Default::default() };
    (volume, mount(name, path))
}

/// A volume that is there already, and that other pods may use at the same time.
pub fn shared(name: &str, path: &str, claim: &str) -> (Volume, VolumeMount) {
    let source = PersistentVolumeClaimVolumeSource { claim_name: claim.to_owned(), read_only: None };
    let volume =
        Volume { name: name.to_owned(), persistent_volume_claim: Some(source), ..Default::default() };
    (volume, mount(name, path))
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..Default::default() }
}

/// A variable with a value.
pub fn env(name: &str, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.into()), value_from: None }
}

/// What every process of the runtime image needs.
pub fn worker_env(facade_url: &str) -> Vec<EnvVar> {
    let pod_name = ObjectFieldSelector { api_version: None, field_path: "metadata.name".to_owned() };
    let source = EnvVarSource { field_ref: Some(pod_name), ..Default::default() };
    vec![
        env("EASEL_FACADE_URL", facade_url),
        env("EASEL_TOKEN_FILE", format!("{TOKEN_DIR}/token")),
        EnvVar { name: "EASEL_POD_NAME".to_owned(), value: None, value_from: Some(source) },
        env("EASEL_TERMINATION_LOG", TERMINATION_LOG),
        env("EASEL_LOG_FORMAT", "json"),
    ]
}

/// A resource list from texts.
pub fn quantities<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, Quantity> {
    pairs.map(|(name, value)| (name.to_owned(), Quantity(value.to_owned()))).into()
}
