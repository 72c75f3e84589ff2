//! What an import reports: of many files, of what a header says, and that it has ended.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easel_protocol::import::{
    ImportResult, ImportedModel, ImportedNetwork, ImportedPicture, MAX_FILES, Origin as From,
};
use easel_runtime::import::{ImportError, import};
use easel_runtime::termination::write_import;
use image::{GrayImage, ImageFormat};

use crate::support::{FakeFacade, file_of, import_config, sha256_hex, with_header};

/// Imports files that were uploaded.
async fn run(
    model_type: &str,
    files: &[(String, Vec<u8>)],
) -> (Result<ImportedModel, ImportError>, FakeFacade) {
    let facade = FakeFacade::start().await;
    let mut task = Vec::new();
    for (index, (name, bytes)) in files.iter().enumerate() {
        let blob = facade.model(&format!("blob{index}"), bytes);
        let key = format!("models/team/m/upload/{name}");
        task.push((name.as_str(), From::Stored { key, url: blob.url }));
    }
    facade.import_files(model_type, task, 4096);
    let directory = tempfile::tempdir().unwrap();
    let result = import(&import_config(&facade, &directory)).await;
    (result, facade)
}

/// A folder of diffusers with so many files.
fn folder(files: usize) -> Vec<(String, Vec<u8>)> {
    let tensor = |at: usize| format!("down_blocks.0.attentions.{at}.proj_in.weight");
    let name = |at: usize| format!("diffusion_pytorch_model-{at:05}-of-{:05}.safetensors", files - 1);
    let map: serde_json::Map<_, _> = (1..files).map(|at| (tensor(at), name(at).into())).collect();
    let index = serde_json::json!({ "weight_map": map }).to_string().into_bytes();
    let shard = |at| (format!("unet/{}", name(at)), file_of(&[(&tensor(at), &[32, 32])]));
    let index = ("unet/diffusion_pytorch_model.safetensors.index.json".to_owned(), index);
    std::iter::once(index).chain((1..files).map(shard)).collect()
}

#[tokio::test]
async fn as_many_files_as_a_model_may_have_are_reported() {
    let (result, _) = run("Checkpoint", &folder(MAX_FILES)).await;
    let model = result.unwrap_or_else(|error| panic!("{}", error.report().message));
    assert_eq!(model.files.len(), 64);
    let log = tempfile::NamedTempFile::new().unwrap();
    let result = ImportResult::Succeeded(model);
    write_import(log.path(), &result).unwrap();
    let message = std::fs::read(log.path()).unwrap();
    assert!(message.len() <= 4096, "{} bytes", message.len());
    assert_eq!(serde_json::from_slice::<ImportResult>(&message).unwrap(), result);
}

#[tokio::test]
async fn what_cannot_be_reported_is_refused_before_it_is_read() {
    let long = |at: usize| (format!("{}.json", sha256_hex(&at.to_le_bytes()).repeat(2)), b"{}".to_vec());
    let names: Vec<_> = (0..MAX_FILES).map(long).collect();
    for (files, reason, words) in [
        (folder(MAX_FILES + 1), "TooManyFiles", ["65 files", "64"]),
        (names, "ResultTooLarge", ["64 files", "4096"]),
    ] {
        let (result, facade) = run("Checkpoint", &files).await;
        let report = result.unwrap_err().report();
        assert_eq!((report.reason.as_str(), report.retriable), (reason, false));
        assert!(words.iter().all(|word| report.message.contains(word)), "{}", report.message);
        assert!(facade.calls("/blobs/").is_empty(), "{reason}: nothing was read");
    }
}

fn lora(picture: &[u8]) -> Vec<u8> {
    let json = serde_json::json!({
        "__metadata__": {
            "ss_tag_frequency": r#"{"a":{"zorb":3,"red":1}}"#,
            "ss_base_model_version": "sd_v1",
            "modelspec.thumbnail": format!("data:image/png;base64,{}", STANDARD.encode(picture)),
        },
        "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight":
            {"dtype": "F16", "shape": [8, 4, 1, 1], "data_offsets": [0, 64]},
        "lora_unet_mid_block_resnets_0_conv1.lora_down.weight":
            {"dtype": "F16", "shape": [4, 2, 3, 3], "data_offsets": [64, 208]},
    });
    with_header(&json.to_string(), &[0; 208])
}

#[tokio::test]
async fn what_a_loras_header_says_is_reported_and_its_picture_stored() {
    let mut png = Cursor::new(Vec::new());
    GrayImage::new(8, 8).write_to(&mut png, ImageFormat::Png).unwrap();
    let png = png.into_inner();
    let (result, facade) = run("Lora", &[("l.safetensors".to_owned(), lora(&png))]).await;
    let model = result.unwrap_or_else(|error| panic!("{}", error.report().message));
    assert_eq!(model.trigger_words, ["zorb", "red"]);
    assert_eq!(model.base_model.as_deref(), Some("sd_v1"));
    assert_eq!(model.network, Some(ImportedNetwork { kind: "LoCon".to_owned(), rank: Some(8) }));
    let picture = ImportedPicture {
        sha256: sha256_hex(&png),
        media_type: "image/png".to_owned(),
        size_bytes: png.len() as u64,
    };
    assert_eq!(model.thumbnail, Some(picture));
    assert_eq!(facade.stored(), [(sha256_hex(&png), png.clone())], "the weights stay where they are");

    let (result, facade) = run("Lora", &[("l.safetensors".to_owned(), lora(&png[..png.len() / 2]))]).await;
    assert_eq!(result.unwrap().thumbnail, None, "a damaged picture is no reason to refuse the weights");
    assert!(facade.stored().is_empty());
}

#[tokio::test]
async fn the_last_word_of_an_import_is_of_no_phase() {
    for (model_type, succeeds) in [("Lora", true), ("Vae", false)] {
        let (result, facade) = run(model_type, &[("l.safetensors".to_owned(), lora(b""))]).await;
        assert_eq!(result.is_ok(), succeeds);
        let last = facade.calls("/import/progress").pop().unwrap().json();
        assert!(last["phase"].is_null(), "{last}");
        assert_eq!(last["bytesPerSecond"], 0);
    }
}
