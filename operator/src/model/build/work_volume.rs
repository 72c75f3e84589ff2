//! The volume on which an import keeps what it has fetched: the next pod goes on where a killed one was. It is there
//! while the import is, and only where the installation asks for one; elsewhere files are on the pod's own disk.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, Volume, VolumeMount,
    VolumeResourceRequirements,
};

use super::ValidModel;
use crate::config::WorkVolume;

pub fn build(valid: &ValidModel, wanted: &WorkVolume) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: valid.owner.child_meta(valid.work_volume_name()),
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(wanted.access_modes.clone()),
            storage_class_name: wanted.storage_class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), wanted.size.clone())])),
                limits: None,
            }),
            ..Default::default()
        }),
        status: None,
    }
}

/// In the pod, writable for its group (the pod's `fsGroup`).
pub fn mounted(valid: &ValidModel, path: &str) -> (Volume, VolumeMount) {
    let claim = PersistentVolumeClaimVolumeSource { claim_name: valid.work_volume_name(), read_only: None };
    let name = "work".to_owned();
    let volume = Volume { name: name.clone(), persistent_volume_claim: Some(claim), ..Default::default() };
    (volume, VolumeMount { name, mount_path: path.to_owned(), ..Default::default() })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

    use crate::config::WorkVolume;
    use crate::context::Settings;
    use crate::endpoint::testing::settings;
    use crate::model::build::testing::model;
    use crate::model::{Plan, build, validate};

    fn with_volume() -> Settings {
        let work_volume = WorkVolume {
            size: Quantity("20Gi".into()),
            storage_class: Some("fast".into()),
            access_modes: vec!["ReadWriteOnce".into()],
        };
        Settings { import_volume: Some(work_volume), ..settings() }
    }

    #[test]
    fn all_pods_of_a_source_share_the_volume_and_those_of_another_do_not() {
        let valid = validate(&model("{http: {url: \"https://a/b\"}}")).unwrap();
        let run = |round| Plan::Run { job: format!("j{round}"), round, trouble: None };
        let built: Vec<_> = [1, 2].map(|round| build(&valid, &run(round), &with_volume())).into();
        let name = |at: usize| built[at].work_volume.as_ref().unwrap().metadata.name.clone().unwrap();
        assert_eq!(name(0), name(1));
        let spec = built[0].work_volume.as_ref().unwrap().spec.as_ref().unwrap();
        assert_eq!(spec.storage_class_name.as_deref(), Some("fast"));
        assert_eq!(spec.resources.as_ref().unwrap().requests.as_ref().unwrap()["storage"].0, "20Gi");
        for built in &built {
            let pod = built.job.as_ref().unwrap().spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            let work = pod.volumes.iter().flatten().find(|volume| volume.name == "work").unwrap();
            assert_eq!(work.persistent_volume_claim.as_ref().unwrap().claim_name, name(0));
            assert!(work.empty_dir.is_none());
            let mounts = pod.containers[0].volume_mounts.as_ref().unwrap();
            assert_eq!(mounts.iter().find(|mount| mount.name == "work").unwrap().mount_path, "/work");
            assert!(pod.security_context.as_ref().unwrap().fs_group.is_some(), "the group may write");
        }
        let other = validate(&model("{http: {url: \"https://a/c\"}}")).unwrap();
        assert_ne!(other.work_volume_name(), name(0));
        assert!(other.work_volume_name().len() <= 63);
    }

    #[test]
    fn by_default_an_import_has_the_pods_disk() {
        let valid = validate(&model("{http: {url: \"https://a/b\"}}")).unwrap();
        let plan = Plan::Run { job: "j".into(), round: 1, trouble: None };
        let built = build(&valid, &plan, &settings());
        assert_eq!(built.work_volume, None);
        let pod = built.job.unwrap().spec.unwrap().template.spec.unwrap();
        assert!(
            pod.volumes.iter().flatten().any(|volume| volume.name == "work" && volume.empty_dir.is_some())
        );
    }
}
