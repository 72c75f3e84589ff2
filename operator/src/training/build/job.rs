//! The Job: one pod at a time trains, stores its state as it goes, and in the end the result.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, EnvVar, PodSpec, PodTemplateSpec, ResourceRequirements, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::json;

use super::ValidTraining;
use crate::children::fingerprint;
use crate::context::Settings;
use crate::jobs::failure_policy;
use crate::labels::{ATTEMPTS_BEFORE, QUEUE_NAME, TEMPLATE_HASH, TRAINING_ROUND};
use crate::pod_parts::{container_security, env, pod_security, scratch, token_volume, worker_env};

const CONTAINER: &str = "train";
const WORK_DIR: &str = "/work";
/// Room for unfinished pictures.
const TMP_LIMIT: &str = "1Gi";
/// Seconds for a trainer to store its state after SIGTERM. Below, a large state is lost on a slow network and the steps
/// since the last one are trained again; above, a drained node waits long.
const GRACE_SECONDS: i64 = 120;
/// What of it the trainer may use: the rest is for its end.
const STORE_SECONDS: i64 = GRACE_SECONDS - 10;

/// What the Job is made of, but for `suspend`. It has no `ttlSecondsAfterFinished`: Kubernetes might delete the Job, and
/// with its pod the result, before the result is read. The operator deletes it when the time is over.
pub fn template(valid: &ValidTraining, settings: &Settings) -> JobSpec {
    let labels = Some(valid.owner.component.labels(&valid.owner.name));
    JobSpec {
        completions: Some(1),
        parallelism: Some(1),
        backoff_limit: Some(valid.retries),
        active_deadline_seconds: Some(valid.timeout_seconds),
        pod_failure_policy: Some(failure_policy(CONTAINER)),
        template: PodTemplateSpec {
            metadata: Some(ObjectMeta { labels, ..Default::default() }),
            spec: Some(pod(valid, settings)),
        },
        ..Default::default()
    }
}

/// Changes exactly when a Job that is held would have to be made anew.
pub fn template_hash(valid: &ValidTraining, template: &JobSpec) -> String {
    fingerprint(&json!({"template": template, "queue": valid.queue}))
}

/// The Job of this name; one for Kueue waits for its word.
pub fn build(valid: &ValidTraining, name: &str, template: JobSpec, attempts: u32) -> Job {
    let mut metadata = valid.owner.child_meta(name.to_owned());
    let annotations = [
        (TRAINING_ROUND.to_owned(), valid.generation.to_string()),
        (TEMPLATE_HASH.to_owned(), template_hash(valid, &template)),
        (ATTEMPTS_BEFORE.to_owned(), attempts.to_string()),
    ];
    metadata.annotations = Some(annotations.into());
    let spec = JobSpec { suspend: Some(valid.queue.is_some()), ..template };
    let mut job = Job { metadata, spec: Some(spec), status: None };
    if let Some(queue) = &valid.queue {
        job.labels_mut().insert(QUEUE_NAME.to_owned(), queue.clone());
    }
    job
}

fn pod(valid: &ValidTraining, settings: &Settings) -> PodSpec {
    let (volumes, mounts): (Vec<Volume>, Vec<VolumeMount>) = [
        token_volume(),
        scratch("work", WORK_DIR, &settings.training_work_limit),
        scratch("tmp", "/tmp", &Quantity(TMP_LIMIT.to_owned())),
    ]
    .into_iter()
    .unzip();
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(valid.placement.image(settings)),
        image_pull_policy: Some(settings.image_pull_policy.to_owned()),
        args: Some(vec!["run-training".to_owned()]),
        env: Some(variables(valid, settings)),
        resources: Some(counted(valid.placement.resources.clone())),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Default::default()
    };
    valid.placement.put(PodSpec {
        service_account_name: Some(valid.owner.child_name()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        restart_policy: Some("Never".to_owned()),
        security_context: Some(pod_security()),
        containers: vec![container],
        volumes: Some(volumes),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        ..Default::default()
    })
}

fn variables(valid: &ValidTraining, settings: &Settings) -> Vec<EnvVar> {
    let mut variables = worker_env(&settings.facade_url);
    variables.push(env("EASEL_WORK_DIR", WORK_DIR));
    variables.push(env("EASEL_GRACE_SECONDS", STORE_SECONDS.to_string()));
    variables.push(env("EASEL_DEVICE", valid.placement.device_word()));
    variables.extend(valid.placement.threads().map(|threads| env("EASEL_THREADS", threads.to_string())));
    variables
}

/// With a request wherever there is a limit, as the API server would add to the pod: a queue counts requests, and it
/// counts them in the Job.
fn counted(resources: ResourceRequirements) -> ResourceRequirements {
    let mut requests = resources.limits.clone().unwrap_or_default();
    requests.extend(resources.requests.unwrap_or_default());
    ResourceRequirements { requests: (!requests.is_empty()).then_some(requests), ..resources }
}

#[cfg(test)]
mod tests {
    use crate::endpoint::testing::settings;
    use crate::training::build::testing::{job, training, valid};
    use crate::training::build::{template, template_hash};

    #[test]
    fn a_trainer_is_ended_gently_and_only_what_may_pass_is_repeated() {
        let spec = job("{retries: 5, timeoutSeconds: 60}").spec.unwrap();
        assert_eq!((spec.backoff_limit, spec.active_deadline_seconds), (Some(5), Some(60)));
        assert_eq!((spec.completions, spec.parallelism, spec.suspend), (Some(1), Some(1), Some(false)));
        assert_eq!(spec.ttl_seconds_after_finished, None, "the result is read first");
        let rules = spec.pod_failure_policy.unwrap().rules;
        let exit = rules[0].on_exit_codes.as_ref().unwrap();
        assert_eq!((rules[0].action.as_str(), &exit.values[..]), ("FailJob", &[65][..]));
        let ignored: Vec<&str> = rules[1..].iter().map(|rule| rule.action.as_str()).collect();
        assert_eq!(ignored, ["Ignore", "Ignore"], "drained nodes and deleted pods cost no retry");
        assert_eq!(rules[2].on_exit_codes.as_ref().unwrap().values, [143]);
        let pod = spec.template.spec.unwrap();
        assert_eq!(exit.container_name.as_ref(), Some(&pod.containers[0].name));
        assert_eq!(pod.restart_policy.as_deref(), Some("Never"), "a failure policy needs it");
        assert_eq!(pod.termination_grace_period_seconds, Some(120));
        assert_eq!(pod.containers[0].termination_message_policy.as_deref(), Some("FallbackToLogsOnError"));
    }

    #[test]
    fn the_pod_is_restricted_and_known_to_the_facade() {
        let pod = job("{}").spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.service_account_name.as_deref(), Some("easel-train-t"));
        assert_eq!(pod.automount_service_account_token, Some(false));
        let security = pod.security_context.clone().unwrap();
        assert_eq!((security.run_as_non_root, security.fs_group), (Some(true), Some(65532)));
        let container = &pod.containers[0];
        let own = container.security_context.clone().unwrap();
        assert_eq!(
            (own.read_only_root_filesystem, own.allow_privilege_escalation),
            (Some(true), Some(false))
        );
        assert_eq!(container.args.as_ref().unwrap(), &["run-training"]);
        for mount in container.volume_mounts.iter().flatten() {
            assert!(pod.volumes.iter().flatten().any(|volume| volume.name == mount.name), "{}", mount.name);
        }
        let work = pod.volumes.iter().flatten().find(|volume| volume.name == "work").unwrap();
        assert_eq!(work.empty_dir.clone().unwrap().size_limit.unwrap().0, "80Gi");
    }

    #[test]
    fn pods_are_placed_as_asked() {
        let spec = "{instanceType: ml.g5.xlarge, nodeSelector: {a: b}, tolerations: [{key: x, operator: Exists}], \
                    priorityClassName: low}";
        let pod = job(spec).spec.unwrap().template.spec.unwrap();
        let container = &pod.containers[0];
        assert_eq!(container.image.as_deref(), Some("runtime-cuda:1"));
        let variable = |name: &str| {
            container.env.iter().flatten().find(|v| v.name == name).and_then(|v| v.value.clone())
        };
        assert_eq!(variable("EASEL_DEVICE").as_deref(), Some("cuda"));
        assert_eq!(variable("EASEL_WORK_DIR").as_deref(), Some("/work"));
        assert_eq!(pod.node_selector.unwrap()["a"], "b");
        assert_eq!(pod.tolerations.unwrap().len(), 2, "its own and that of GPUs");
        assert_eq!(pod.priority_class_name.as_deref(), Some("low"));
        let claimed = job("{device: Cuda, resources: {limits: {cpu: 3}}, \
                            resourceClaims: [{name: gpu, resourceClaimTemplateName: one}]}");
        let pod = claimed.spec.unwrap().template.spec.unwrap();
        assert_eq!(pod.resource_claims.unwrap()[0].resource_claim_template_name.as_deref(), Some("one"));
        let container = &pod.containers[0];
        let threads = container.env.iter().flatten().find(|v| v.name == "EASEL_THREADS").unwrap();
        assert_eq!(threads.value.as_deref(), Some("3"));
    }

    #[test]
    fn a_queue_gets_a_job_that_waits_and_says_what_it_needs() {
        let queued = job("{queueName: gpus, resources: {requests: {cpu: 1}, limits: {cpu: 2, memory: 4Gi}}}");
        assert_eq!(queued.metadata.labels.unwrap()["kueue.x-k8s.io/queue-name"], "gpus");
        let spec = queued.spec.unwrap();
        assert_eq!(spec.suspend, Some(true));
        let resources = spec.template.spec.unwrap().containers[0].resources.clone().unwrap();
        let requests = resources.requests.unwrap();
        assert_eq!((requests["cpu"].0.as_str(), requests["memory"].0.as_str()), ("1", "4Gi"));
        let default = job("{queueName: gpus}").spec.unwrap().template.spec.unwrap();
        let requests = default.containers[0].resources.clone().unwrap().requests.unwrap();
        assert!(requests.contains_key("cpu") && requests.contains_key("memory"));
    }

    #[test]
    fn only_what_is_in_the_job_changes_its_hash() {
        let hash = |spec: &str| {
            let valid = valid(spec);
            template_hash(&valid, &template(&valid, &settings()))
        };
        for same in
            ["{suspend: true}", "{ttlSecondsAfterFinished: 1}", "{samples: {everySteps: 1, prompts: [p]}}"]
        {
            assert_eq!(hash(same), hash("{}"), "{same}");
        }
        for other in ["{queueName: q}", "{retries: 9}", "{nodeSelector: {a: b}}", "{timeoutSeconds: 99}"] {
            assert_ne!(hash(other), hash("{}"), "{other}");
        }
        assert_eq!(training("{}").spec.retries, 3);
    }
}
