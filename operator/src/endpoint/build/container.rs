//! The worker's container: environment, probes, mounts.

use easel_crds::common::Precision;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, HTTPGetAction, Probe, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::ValidEndpoint;
use crate::context::Settings;
use crate::pod_parts::{container_security, env, scratch, shared, token_volume, worker_env};

/// Port of health, metrics and generating.
pub const PORT: i32 = 8080;
pub const PORT_NAME: &str = "http";
/// Part of the drain in which a worker hands back the job that it could not finish.
const HAND_BACK_SECONDS: i32 = 10;
const CACHE_DIR: &str = "/cache";
/// Room for unfinished pictures.
const TMP_LIMIT: &str = "1Gi";

/// The container and the volumes that it mounts.
pub fn build(valid: &ValidEndpoint, settings: &Settings) -> (Container, Vec<Volume>) {
    let cache = match &valid.cache_claim {
        Some(claim) => shared("cache", CACHE_DIR, claim),
        None => scratch("cache", CACHE_DIR, &valid.cache_limit),
    };
    let (volumes, mounts): (Vec<Volume>, Vec<VolumeMount>) =
        [token_volume(), cache, scratch("tmp", "/tmp", &Quantity(TMP_LIMIT.to_owned()))].into_iter().unzip();
    let container = Container {
        name: "serve".to_owned(),
        image: Some(valid.placement.image(settings)),
        image_pull_policy: Some(settings.image_pull_policy.to_owned()),
        args: Some(vec!["serve".to_owned()]),
        env: Some(variables(valid, settings)),
        ports: Some(vec![ContainerPort {
            name: Some(PORT_NAME.to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..Default::default()
        }]),
        resources: Some(valid.placement.resources.clone()),
        // Five minutes to bind the port on a node that is busy; the kubelet ends what hangs before.
        startup_probe: Some(probe("/healthz", 2, 3, 150)),
        // A minute: generating on every core must not look like a hang.
        liveness_probe: Some(probe("/healthz", 10, 5, 6)),
        // Not ready within 4 s of the fact.
        readiness_probe: Some(probe("/readyz", 2, 3, 2)),
        security_context: Some(container_security()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(mounts),
        ..Default::default()
    };
    (container, volumes)
}

fn variables(valid: &ValidEndpoint, settings: &Settings) -> Vec<EnvVar> {
    let precision = match valid.precision {
        Precision::Auto => "auto",
        Precision::F32 => "f32",
        Precision::F16 => "f16",
        Precision::Bf16 => "bf16",
    };
    let grace = (valid.rollout.drain_seconds - HAND_BACK_SECONDS).max(0);
    let mut variables = worker_env(&settings.facade_url);
    variables.extend([
        env("EASEL_LISTEN", format!("0.0.0.0:{PORT}")),
        env("EASEL_CACHE_DIR", CACHE_DIR),
        env("EASEL_CACHE_LIMIT_BYTES", valid.cache_bytes.to_string()),
        env("EASEL_GRACE_SECONDS", grace.to_string()),
        env("EASEL_DEVICE", valid.placement.device_word()),
        env("EASEL_PRECISION", precision),
    ]);
    variables.extend(valid.placement.threads().map(|threads| env("EASEL_THREADS", threads.to_string())));
    variables
}

fn probe(path: &str, period: i32, timeout: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(PORT_NAME.to_owned()),
            ..Default::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(failures),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::build::testing::{settings, valid};

    fn variable(container: &Container, name: &str) -> Option<String> {
        container.env.iter().flatten().find(|v| v.name == name).and_then(|v| v.value.clone())
    }

    #[test]
    fn the_device_chooses_the_image() {
        let (cpu, _) = build(&valid("{}"), &settings());
        assert_eq!(cpu.image.as_deref(), Some("runtime:1"));
        assert_eq!(variable(&cpu, "EASEL_DEVICE").as_deref(), Some("cpu"));
        let (gpu, _) = build(&valid("{instanceType: ml.g5.xlarge, precision: F16}"), &settings());
        assert_eq!(gpu.image.as_deref(), Some("runtime-cuda:1"));
        assert_eq!(variable(&gpu, "EASEL_DEVICE").as_deref(), Some("cuda"));
        assert_eq!(variable(&gpu, "EASEL_PRECISION").as_deref(), Some("f16"));
    }

    #[test]
    fn threads_follow_the_cpu_limit_only() {
        let cases = [
            ("{}", None),
            ("resources: {requests: {cpu: 4}}", None),
            ("resources: {limits: {cpu: 3500m}}", Some("3")),
            ("resources: {limits: {cpu: 100m}}", Some("1")),
        ];
        for (spec, threads) in cases {
            let (container, _) = build(&valid(spec), &settings());
            assert_eq!(variable(&container, "EASEL_THREADS").as_deref(), threads, "{spec}");
        }
    }

    #[test]
    fn every_mount_has_its_volume() {
        let (container, volumes) = build(&valid("cache: {sizeLimit: 5Gi}"), &settings());
        for mount in container.volume_mounts.iter().flatten() {
            assert!(volumes.iter().any(|volume| volume.name == mount.name), "{}", mount.name);
        }
        let cache = volumes.iter().find(|v| v.name == "cache").unwrap();
        assert_eq!(cache.empty_dir.clone().unwrap().size_limit.unwrap().0, "5Gi");
    }

    #[test]
    fn a_shared_cache_is_mounted_where_the_worker_looks_for_it() {
        let spec = "cache: {sizeLimit: 100Gi, volume: {claimName: weights}}";
        let (container, volumes) = build(&valid(spec), &settings());
        let cache = volumes.iter().find(|v| v.name == "cache").unwrap();
        let claim = cache.persistent_volume_claim.clone().unwrap();
        assert_eq!((claim.claim_name.as_str(), claim.read_only), ("weights", None));
        assert!(cache.empty_dir.is_none(), "a volume has one source");
        let mount = container.volume_mounts.iter().flatten().find(|m| m.name == "cache").unwrap();
        assert_eq!(Some(mount.mount_path.as_str()), variable(&container, "EASEL_CACHE_DIR").as_deref());
        assert_eq!((mount.read_only, mount.sub_path.as_deref()), (None, None));
        let limit = variable(&container, "EASEL_CACHE_LIMIT_BYTES").unwrap();
        assert_eq!(
            limit.parse::<u64>().unwrap(),
            (100 << 30) / 20 * 19,
            "the limit holds for the volume too"
        );
    }
}
