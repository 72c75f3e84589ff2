//! Chooses the one failure that explains best why pods do not work.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::checks::CHECKS;

/// A fact about a pod that keeps it from working.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFailure {
    pub reason: String,
    pub message: String,
    pub retriable: bool,
    /// When it happened, if the pod tells.
    pub time: Option<Timestamp>,
    pub pod: String,
    pub exit_code: Option<i32>,
}

/// Is the pod one that counts: not on its way out?
pub fn is_live(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
}

/// The failure of the first check that finds one, over all live pods; among several pods the first by name,
/// so that the answer does not jump.
pub fn current_failure<'a>(pods: impl IntoIterator<Item = &'a Pod>) -> Option<PodFailure> {
    let mut live: Vec<&Pod> = pods.into_iter().filter(|pod| is_live(pod)).collect();
    live.sort_by_key(|pod| pod.name_any());
    CHECKS.iter().find_map(|check| {
        live.iter().find_map(|pod| {
            check(pod).map(|found| PodFailure {
                reason: found.reason,
                message: found.message,
                retriable: found.retriable,
                time: found.time,
                pod: pod.name_any(),
                exit_code: found.exit_code,
            })
        })
    })
}
