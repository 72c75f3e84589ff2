//! The import Job: one pod at a time fetches, hashes, reads and stores the files.

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaimVolumeSource, PodSpec, PodTemplateSpec, ResourceRequirements, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{ValidModel, work_volume};
use crate::context::Settings;
use crate::jobs::failure_policy;
use crate::labels::{IMPORT_ROUND, SOURCE_HASH};
use crate::pod_parts::{
    container_security, env, pod_security, quantities, scratch, token_volume, worker_env,
};

const CONTAINER: &str = "import";
const WORK_DIR: &str = "/work";
/// Where the importer looks for the files of a `volume` source.
const VOLUME_DIR: &str = "/volume";
/// Pods of a round that may fail before the round has.
const BACKOFF_LIMIT: i32 = 3;
/// Seconds for an importer to end after SIGTERM; what it fetched is resumed by the next one.
const GRACE_SECONDS: i64 = 10;

pub fn build(valid: &ValidModel, name: &str, round: u32, settings: &Settings) -> Job {
    let owner = &valid.owner;
    let mut metadata = owner.child_meta(name.to_owned());
    metadata.annotations = Some(
        [(SOURCE_HASH.to_owned(), valid.source_hash.clone()), (IMPORT_ROUND.to_owned(), round.to_string())]
            .into(),
    );
    let labels = Some(owner.component.labels(&owner.name));
    Job {
        metadata,
        spec: Some(JobSpec {
            completions: Some(1),
            parallelism: Some(1),
            backoff_limit: Some(BACKOFF_LIMIT),
            active_deadline_seconds: Some(settings.import_deadline_seconds),
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

fn pod(valid: &ValidModel, settings: &Settings) -> PodSpec {
    let (volumes, mounts): (Vec<Volume>, Vec<VolumeMount>) = [
        token_volume(),
        match &settings.import_volume {
            Some(_) => work_volume::mounted(valid, WORK_DIR),
            None => scratch("work", WORK_DIR, &settings.import_work_limit),
        },
        scratch("tmp", "/tmp", &Quantity("64Mi".to_owned())),
    ]
    .into_iter()
    .chain(valid.volume_claim.as_deref().map(claimed))
    .unzip();
    let mut variables = worker_env(&settings.facade_url);
    variables.push(env("EASEL_WORK_DIR", WORK_DIR));
    if valid.volume_claim.is_some() {
        variables.push(env("EASEL_VOLUME_DIR", VOLUME_DIR));
    }
    if !settings.allowed_cidrs.is_empty() {
        variables.push(env("EASEL_ALLOWED_CIDRS", settings.allowed_cidrs.join(",")));
    }
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(settings.runtime_image.clone()),
        image_pull_policy: Some(settings.image_pull_policy.to_owned()),
        args: Some(vec!["import".to_owned()]),
        env: Some(variables),
        // Files are streamed; the limit leaves room for the page cache and a large header.
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

/// The claim that the Model names, twice read-only: also where the storage cannot refuse writes, the mount does.
fn claimed(claim_name: &str) -> (Volume, VolumeMount) {
    let claim =
        PersistentVolumeClaimVolumeSource { claim_name: claim_name.to_owned(), read_only: Some(true) };
    let name = "source".to_owned();
    let volume = Volume { name: name.clone(), persistent_volume_claim: Some(claim), ..Default::default() };
    let mount_path = VOLUME_DIR.to_owned();
    (volume, VolumeMount { name, mount_path, read_only: Some(true), ..Default::default() })
}

#[cfg(test)]
mod tests {
    use crate::model::build::testing::{job, model};
    use crate::model::validate;

    #[test]
    fn a_permanent_failure_is_not_repeated_and_others_are() {
        let valid = validate(&model("{objectStore: {key: k}}")).unwrap();
        let spec = job(&valid, 1).spec.unwrap();
        assert_eq!((spec.backoff_limit, spec.ttl_seconds_after_finished), (Some(3), None));
        let rules = spec.pod_failure_policy.unwrap().rules;
        assert_eq!(rules[0].on_exit_codes.as_ref().unwrap().values, [65]);
        assert_eq!((rules[0].action.as_str(), rules[1].action.as_str()), ("FailJob", "Ignore"));
        let pod = spec.template.spec.unwrap();
        assert_eq!(pod.restart_policy.as_deref(), Some("Never"), "a failure policy needs it");
        assert_eq!(
            rules[0].on_exit_codes.as_ref().unwrap().container_name.as_ref(),
            Some(&pod.containers[0].name)
        );
    }

    #[test]
    fn only_a_volume_source_gets_its_volume_and_cannot_write_to_it() {
        let pod = |source: &str| {
            let valid = validate(&model(source)).unwrap();
            job(&valid, 1).spec.unwrap().template.spec.unwrap()
        };
        let with = pod("{volume: {claimName: weights, path: sd/a.safetensors}}");
        let claims: Vec<_> =
            with.volumes.iter().flatten().filter_map(|v| v.persistent_volume_claim.as_ref()).collect();
        assert_eq!((claims.len(), claims[0].claim_name.as_str()), (1, "weights"));
        assert_eq!(claims[0].read_only, Some(true));
        let container = &with.containers[0];
        let mount = container.volume_mounts.iter().flatten().find(|m| m.name == "source").unwrap();
        assert_eq!((mount.mount_path.as_str(), mount.read_only), ("/volume", Some(true)));
        let told = container.env.iter().flatten().find(|v| v.name == "EASEL_VOLUME_DIR").unwrap();
        assert_eq!(told.value.as_deref(), Some("/volume"));
        let without = pod("{huggingFace: {repository: a/b}}");
        assert!(without.volumes.iter().flatten().all(|v| v.persistent_volume_claim.is_none()));
        assert!(without.containers[0].env.iter().flatten().all(|v| v.name != "EASEL_VOLUME_DIR"));
    }

    #[test]
    fn the_pod_gets_the_allowed_networks_and_no_secret() {
        let valid = validate(&model("{http: {url: \"https://a/b\"}}")).unwrap();
        let pod = job(&valid, 1).spec.unwrap().template.spec.unwrap();
        let env = pod.containers[0].env.clone().unwrap();
        let allowed = env.iter().find(|v| v.name == "EASEL_ALLOWED_CIDRS").unwrap();
        assert_eq!(allowed.value.as_deref(), Some("10.0.0.0/8"));
        assert!(pod.volumes.unwrap().iter().all(|volume| volume.secret.is_none()));
        assert!(env.iter().all(|v| v.value_from.as_ref().is_none_or(|from| from.secret_key_ref.is_none())));
    }
}
