//! The Job of a check: one pod at a time reads each picture once.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, PodSpec, PodTemplateSpec, ResourceRequirements, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::ValidDataset;
use crate::context::Settings;
use crate::jobs::failure_policy;
use crate::labels::{CHECK_ROUND, ITEMS_HASH};
use crate::pod_parts::{
    container_security, env, pod_security, quantities, scratch, token_volume, worker_env,
};

const CONTAINER: &str = "check";
const WORK_DIR: &str = "/work";
/// Pods of a round that may fail before the round has.
const BACKOFF_LIMIT: i32 = 3;
/// Seconds for a checker to end after SIGTERM; the next one begins anew.
const GRACE_SECONDS: i64 = 10;

pub fn build(valid: &ValidDataset, name: &str, round: u32, settings: &Settings) -> Job {
    let owner = &valid.owner;
    let mut metadata = owner.child_meta(name.to_owned());
    metadata.annotations = Some(
        [(ITEMS_HASH.to_owned(), valid.items_hash.clone()), (CHECK_ROUND.to_owned(), round.to_string())]
            .into(),
    );
    let labels = Some(owner.component.labels(&owner.name));
    Job {
        metadata,
        spec: Some(JobSpec {
            completions: Some(1),
            parallelism: Some(1),
            backoff_limit: Some(BACKOFF_LIMIT),
            active_deadline_seconds: Some(settings.check_deadline_seconds),
            pod_failure_policy: Some(failure_policy(CONTAINER)),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels, ..Default::default() }),
                spec: Some(pod(valid, settings)),
            },
            ..Default::default()
        }),
        status: None,
    }
}

fn pod(valid: &ValidDataset, settings: &Settings) -> PodSpec {
    let (volumes, mounts): (Vec<Volume>, Vec<VolumeMount>) = [
        token_volume(),
        scratch("work", WORK_DIR, &settings.check_work_limit),
        scratch("tmp", "/tmp", &Quantity("64Mi".to_owned())),
    ]
    .into_iter()
    .unzip();
    let mut variables = worker_env(&settings.facade_url);
    variables.push(env("EASEL_WORK_DIR", WORK_DIR));
    variables.push(env("EASEL_DATASET", valid.owner.name.as_str()));
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.runtime_image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.to_owned()),
        args: Some(vec!["check-dataset".to_owned()]),
        env: Some(variables),
        // One picture is decoded at a time; the limit leaves room for a large one.
        resources: Some(ResourceRequirements {
            requests: Some(quantities([("cpu", "100m"), ("memory", "128Mi")])),
            limits: Some(quantities([("memory", "1Gi")])),
            claims: None,
        }),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Default::default()
    };
    PodSpec {
        service_account_name: Some(valid.owner.child_name()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(pod_security()),
        containers: vec![container],
        volumes: Some(volumes),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use crate::dataset::build::testing::{dataset, job};
    use crate::dataset::validate;

    #[test]
    fn a_check_is_small_restricted_and_known_to_the_facade() {
        let job = job(&validate(&dataset("{items: [{name: a.png}]}")).unwrap(), 2);
        assert_eq!(job.metadata.annotations.unwrap()["easel.dev/check-round"], "2");
        let spec = job.spec.unwrap();
        assert_eq!((spec.backoff_limit, spec.active_deadline_seconds), (Some(3), Some(3600)));
        let pod = spec.template.spec.unwrap();
        assert_eq!(pod.service_account_name.as_deref(), Some("easel-dataset-d"));
        assert_eq!(pod.automount_service_account_token, Some(false));
        assert_eq!(pod.security_context.unwrap().run_as_non_root, Some(true));
        let container = &pod.containers[0];
        assert_eq!(container.args.as_ref().unwrap(), &["check-dataset"]);
        let told = container.env.iter().flatten().find(|variable| variable.name == "EASEL_DATASET").unwrap();
        assert_eq!(told.value.as_deref(), Some("d"), "the checker asks for its pages by name");
        let rules = spec.pod_failure_policy.unwrap().rules;
        assert_eq!(rules[0].on_exit_codes.as_ref().unwrap().container_name.as_ref(), Some(&container.name));
        let own = container.security_context.clone().unwrap();
        assert_eq!(
            (own.read_only_root_filesystem, own.allow_privilege_escalation),
            (Some(true), Some(false))
        );
        for mount in container.volume_mounts.iter().flatten() {
            assert!(pod.volumes.iter().flatten().any(|volume| volume.name == mount.name), "{}", mount.name);
        }
    }
}
