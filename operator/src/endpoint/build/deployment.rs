//! The Deployment of the workers.

use easel_crds::endpoint::RolloutStrategy;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{ValidEndpoint, container};
use crate::children::fingerprint;
use crate::context::Settings;
use crate::labels::TEMPLATE_HASH;
use crate::pod_parts::{pod_security, pod_security_with_shared_volume};

/// Old ReplicaSets kept for `kubectl rollout history`.
const HISTORY: i32 = 3;

pub fn build(valid: &ValidEndpoint, settings: &Settings) -> Deployment {
    let owner = &valid.owner;
    Deployment {
        metadata: owner.child_meta(owner.child_name()),
        spec: Some(DeploymentSpec {
            replicas: Some(valid.replicas),
            selector: owner.component.selector(&owner.name),
            strategy: Some(strategy(valid)),
            progress_deadline_seconds: Some(valid.rollout.progress_deadline_seconds),
            revision_history_limit: Some(HISTORY),
            template: template(valid, settings),
            ..Default::default()
        }),
        status: None,
    }
}

fn strategy(valid: &ValidEndpoint) -> DeploymentStrategy {
    match valid.rollout.strategy {
        RolloutStrategy::Recreate => {
            DeploymentStrategy { type_: Some("Recreate".to_owned()), rolling_update: None }
        }
        RolloutStrategy::RollingUpdate => DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(valid.rollout.max_surge)),
                max_unavailable: Some(IntOrString::Int(valid.rollout.max_unavailable)),
            }),
        },
    }
}

fn template(valid: &ValidEndpoint, settings: &Settings) -> PodTemplateSpec {
    let owner = &valid.owner;
    let mut template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(owner.component.labels(&owner.name)),
            ..Default::default()
        }),
        spec: Some(pod(valid, settings)),
    };
    let hash = fingerprint(&template);
    if let Some(meta) = &mut template.metadata {
        meta.annotations = Some([(TEMPLATE_HASH.to_owned(), hash)].into());
    }
    template
}

fn pod(valid: &ValidEndpoint, settings: &Settings) -> PodSpec {
    let owner = &valid.owner;
    let (container, volumes) = container::build(valid, settings);
    valid.placement.put(PodSpec {
        service_account_name: Some(owner.child_name()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(match valid.cache_claim {
            Some(_) => pod_security_with_shared_volume(),
            None => pod_security(),
        }),
        containers: vec![container],
        volumes: Some(volumes),
        termination_grace_period_seconds: Some(i64::from(valid.rollout.drain_seconds)),
        topology_spread_constraints: Some(vec![
            spread(valid, "kubernetes.io/hostname"),
            spread(valid, "topology.kubernetes.io/zone"),
        ]),
        ..Default::default()
    })
}

/// Evenly if there is room; pods of an older template do not count.
fn spread(valid: &ValidEndpoint, key: &str) -> TopologySpreadConstraint {
    let owner = &valid.owner;
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(owner.component.selector(&owner.name)),
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::build::testing::{settings, valid};

    fn spec(spec: &str) -> DeploymentSpec {
        build(&valid(spec), &settings()).spec.unwrap()
    }

    fn template_hash(spec: &DeploymentSpec) -> String {
        spec.template.metadata.clone().unwrap().annotations.unwrap()[TEMPLATE_HASH].clone()
    }

    #[test]
    fn pods_are_selected_by_labels_that_they_carry() {
        let spec = spec("{}");
        let labels = spec.template.metadata.clone().unwrap().labels.unwrap();
        for (key, value) in spec.selector.match_labels.unwrap() {
            assert_eq!(labels.get(&key), Some(&value), "{key}");
        }
    }

    #[test]
    fn pods_meet_the_restricted_standard() {
        let pod = spec("{}").template.spec.unwrap();
        let security = pod.security_context.unwrap();
        assert_eq!(security.run_as_non_root, Some(true));
        assert_eq!(security.seccomp_profile.unwrap().type_, "RuntimeDefault");
        assert_eq!(pod.automount_service_account_token, Some(false));
        let container = pod.containers[0].security_context.clone().unwrap();
        assert_eq!(container.allow_privilege_escalation, Some(false));
        assert_eq!(container.read_only_root_filesystem, Some(true));
        assert_eq!(container.capabilities.unwrap().drop.unwrap(), ["ALL"]);
    }

    #[test]
    fn the_workers_user_can_write_to_a_shared_cache() {
        let pod = |text: &str| spec(text).template.spec.unwrap().security_context.unwrap();
        let shared = pod("cache: {volume: {claimName: weights}}");
        assert_eq!(
            (shared.fs_group, shared.run_as_group, shared.run_as_user),
            (Some(65532), Some(65532), Some(65532))
        );
        assert_eq!(shared.fs_group_change_policy.as_deref(), Some("OnRootMismatch"));
        assert_eq!(shared.run_as_non_root, Some(true));
        assert_eq!(pod("{}").fs_group_change_policy, None, "pods without one stay as they are");
    }

    #[test]
    fn only_a_changed_pod_changes_the_template_hash() {
        let plain = template_hash(&spec("{}"));
        for same in ["replicas: 5", "suspend: true", "models: [{name: other}]", "limits: {maxSteps: 9}"] {
            assert_eq!(template_hash(&spec(same)), plain, "{same} keeps the pods");
        }
        for other in [
            "precision: F16",
            "nodeSelector: {a: b}",
            "cache: {sizeLimit: 1Gi}",
            "cache: {volume: {claimName: weights}}",
        ] {
            assert_ne!(template_hash(&spec(other)), plain, "{other} replaces the pods");
        }
    }

    #[test]
    fn the_rollout_is_as_asked() {
        let rolling = spec("rollout: {maxSurge: 2, drainSeconds: 30}");
        let update = rolling.strategy.unwrap().rolling_update.unwrap();
        assert_eq!(
            (update.max_surge, update.max_unavailable),
            (Some(IntOrString::Int(2)), Some(IntOrString::Int(0)))
        );
        assert_eq!(rolling.template.spec.unwrap().termination_grace_period_seconds, Some(30));
        let recreate = spec("rollout: {strategy: Recreate}").strategy.unwrap();
        assert_eq!((recreate.type_.as_deref(), recreate.rolling_update), (Some("Recreate"), None));
    }
}
