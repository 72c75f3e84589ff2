//! Imports that compute: merges of files in the object store.

use std::ops::ControlFlow;

use easel_diffusion::merge::{MergePlan, MergeSource, Method, OutputPrecision, merge};
use easel_protocol::import::{ImportedModel, MergeMethod, MergePrecision, MergeTask, Origin as From};
use easel_runtime::import::{ImportError, import};

use crate::support::{FakeFacade, import_config, lora, sha256_hex, tiny_checkpoint};

/// A checkpoint like the tiny one, with another last weight.
fn other_checkpoint() -> Vec<u8> {
    let mut bytes = tiny_checkpoint();
    // 1 as f16.
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&0x3c00_u16.to_le_bytes());
    bytes
}

fn how() -> MergeTask {
    MergeTask {
        method: MergeMethod::WeightedSum,
        multiplier: 0.25,
        block_weights: Vec::new(),
        has_vae: false,
        precision: MergePrecision::F32,
        prune_ema: true,
        name: "mixed.safetensors".to_owned(),
    }
}

async fn run(files: &[(&str, Vec<u8>)]) -> (Result<ImportedModel, ImportError>, FakeFacade) {
    let facade = FakeFacade::start().await;
    let mut task = Vec::new();
    for (name, bytes) in files {
        let blob = facade.model(name, bytes);
        task.push((*name, From::Stored { key: format!("models/sha256/{name}"), url: blob.url }));
    }
    facade.import_files("Checkpoint", task, 65_536);
    facade.merge_files(how());
    let directory = tempfile::tempdir().unwrap();
    let result = import(&import_config(&facade, &directory)).await;
    if result.is_ok() {
        let left = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["token"], "the room is given back");
    }
    (result, facade)
}

#[tokio::test]
async fn stored_checkpoints_become_one_that_is_stored() {
    let (a, b) = (tiny_checkpoint(), other_checkpoint());
    let (result, facade) = run(&[("a.safetensors", a.clone()), ("b.safetensors", b.clone())]).await;
    let model = result.unwrap_or_else(|error| panic!("{}", error.report().message));
    assert_eq!((model.family.as_str(), model.precision.as_deref()), ("Sd1", Some("f32")));
    assert_eq!(model.files.len(), 1);
    assert_eq!(model.files[0].name, "mixed.safetensors");

    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("a.safetensors"), a).unwrap();
    std::fs::write(path("b.safetensors"), b).unwrap();
    let source = |name: &str| MergeSource::file(path(name));
    let plan = MergePlan {
        precision: Some(OutputPrecision::F32),
        prune_ema: true,
        ..MergePlan::new(source("a.safetensors"), source("b.safetensors"), Method::WeightedSum, 0.25)
    };
    let direct = merge(&plan, &path("out"), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(model.files[0].sha256, direct.sha256);
    let (hash, bytes) = facade.stored().remove(0);
    assert_eq!((hash, sha256_hex(&bytes)), (direct.sha256.clone(), direct.sha256));
    assert!(bytes.windows(4).any(|value| value == 0.25_f32.to_le_bytes()), "a quarter of the way to 1");
}

#[tokio::test]
async fn what_cannot_be_merged_is_permanent_and_stores_nothing() {
    let (result, facade) = run(&[("a.safetensors", tiny_checkpoint()), ("b.safetensors", lora())]).await;
    let report = result.unwrap_err().report();
    assert!(!report.retriable, "{report:?}");
    assert!(
        report.message.contains("mixed.safetensors") && report.message.contains("b.safetensors"),
        "{report:?}"
    );
    assert!(facade.stored().is_empty());
    let (result, _) = run(&[("a.safetensors", tiny_checkpoint())]).await;
    assert_eq!(result.unwrap_err().report().reason, "NoFiles");
}
