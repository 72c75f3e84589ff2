//! Imports of what is not one safetensors file: pickles, archives, folders.

use std::io::Write;

use easel_protocol::import::{ImportedModel, Origin as From};
use easel_runtime::import::{ImportError, import};

use crate::support::{FakeFacade, Origin, Reply, file_of, import_config, lora, sha256_hex, tiny_checkpoint};

const EMBEDDING: &[u8] = include_bytes!("../../diffusion/tests/golden/families/embedding.pt");
const HYPERNETWORK: &[u8] = include_bytes!("../../diffusion/tests/golden/families/hypernetwork.pt");
const DECODER: &[u8] = include_bytes!("../../diffusion/tests/golden/families/taesd_decoder.pth");

/// Imports these files, each from a server of its own, or from the object store.
async fn run(
    model_type: &str,
    files: &[(&str, &[u8])],
    in_store: bool,
) -> (Result<ImportedModel, ImportError>, FakeFacade) {
    let facade = FakeFacade::start().await;
    let mut origins = Vec::new();
    let mut task = Vec::new();
    for (index, (name, bytes)) in files.iter().enumerate() {
        if in_store {
            let blob = facade.model(&format!("blob{index}"), bytes);
            task.push((*name, From::Stored { key: format!("models/ns/m/upload/{name}"), url: blob.url }));
        } else {
            let origin = Origin::start(vec![Reply::file(bytes)]).await;
            task.push((*name, From::Http { url: origin.url(), headers: vec![] }));
            origins.push(origin);
        }
    }
    facade.import_files(model_type, task, 4096);
    let directory = tempfile::tempdir().unwrap();
    let result = import(&import_config(&facade, &directory)).await;
    if result.is_ok() {
        let left: Vec<_> = std::fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("import-"))
            .collect();
        assert_eq!(left, Vec::<String>::new(), "the room is given back");
    }
    (result, facade)
}

fn names(model: &ImportedModel) -> Vec<&str> {
    model.files.iter().map(|file| file.name.as_str()).collect()
}

fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

#[tokio::test]
async fn pickles_are_stored_as_safetensors() {
    for in_store in [false, true] {
        for (name, bytes, model_type) in [
            ("embedding.pt", EMBEDDING, "TextualInversion"),
            ("hypernetwork.pt", HYPERNETWORK, "Hypernetwork"),
            ("taesd_decoder.pth", DECODER, "Vae"),
        ] {
            let (result, facade) = run(model_type, &[(name, bytes)], in_store).await;
            let model = result.unwrap_or_else(|error| panic!("{name}: {}", error.report().message));
            let stem = name.split('.').next().unwrap();
            assert_eq!(names(&model), [format!("{stem}.safetensors")]);
            let stored = facade.stored();
            assert_eq!(stored.len(), 1, "{name}");
            let (sha256, bytes) = &stored[0];
            assert_eq!((sha256, sha256), (&model.files[0].sha256, &sha256_hex(bytes)), "{name}");
            assert_eq!(model.files[0].key, format!("models/sha256/{sha256}"));
            assert_eq!(bytes[8], b'{', "{name} is safetensors");
        }
    }
}

#[tokio::test]
async fn a_pickle_of_another_type_is_refused_before_it_is_stored() {
    let (result, facade) = run("Checkpoint", &[("m.pt", EMBEDDING)], false).await;
    let error = result.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("WrongModelType", false));
    assert!(facade.stored().is_empty());
}

#[tokio::test]
async fn an_archive_becomes_its_weights_and_side_files() {
    let weights = tiny_checkpoint();
    let entries: [(&str, &[u8]); 4] = [
        ("release/v1-inference.yaml", b"model: {}"),
        ("release/m.safetensors", &weights),
        ("release/run.py", b"import os"),
        ("release/sample.png", b"png"),
    ];
    for (name, bytes, in_store) in [
        ("release.tar", tar(&entries), false),
        ("release.tar.gz", gzip(&tar(&entries)), false),
        ("release.tgz", gzip(&tar(&entries)), true),
        ("release.tar.zst", zstd(&tar(&entries)), false),
    ] {
        let (result, facade) = run("Checkpoint", &[(name, &bytes)], in_store).await;
        let model = result.unwrap_or_else(|error| panic!("{name}: {}", error.report().message));
        assert_eq!(names(&model), ["v1-inference.yaml", "m.safetensors"], "{name}");
        assert_eq!(model.family, "Sd1");
        assert!(facade.stored().iter().any(|(_, bytes)| *bytes == weights), "{name}");
    }
}

#[tokio::test]
async fn hostile_archives_leave_nothing_behind() {
    let weights = tiny_checkpoint();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_link(&mut link, "m.safetensors", "/etc/passwd").unwrap();
    let linked = builder.into_inner().unwrap();
    let cases: [(&str, Vec<u8>, &str); 3] = [
        ("a link", linked, "ArchiveRefused"),
        ("only programs", tar(&[("run.py", b"import os")]), "NoFiles"),
        (
            "weights of another type beside",
            tar(&[("a.safetensors", &weights), ("b.safetensors", &lora())]),
            "WrongModelType",
        ),
    ];
    for (name, bytes, reason) in cases {
        let (result, facade) = run("Checkpoint", &[("m.tar", &bytes)], false).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.reason(), error.retriable()),
            (reason, false),
            "{name}: {}",
            error.report().message
        );
        assert!(facade.stored().is_empty(), "{name}");
    }
}

/// A folder in the layout of diffusers, as far as headers tell.
fn folder() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("model_index.json", b"{}".to_vec()),
        ("scheduler/scheduler_config.json", br#"{"prediction_type":"v_prediction"}"#.to_vec()),
        ("text_encoder/model.safetensors", file_of(&[("text_model.final_layer_norm.weight", &[8])])),
        ("tokenizer/merges.txt", b"a b".to_vec()),
        ("unet/config.json", b"{}".to_vec()),
        (
            "unet/diffusion_pytorch_model.safetensors",
            file_of(&[("down_blocks.0.attentions.0.proj_in.weight", &[32, 32])]),
        ),
        ("vae/diffusion_pytorch_model.safetensors", file_of(&[("decoder.conv_in.weight", &[4, 4, 3, 3])])),
    ]
}

#[tokio::test]
async fn a_folder_is_judged_by_all_its_files() {
    let files = folder();
    let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let inside: Vec<_> = files.iter().map(|(name, bytes)| (format!("repo-main/{name}"), *bytes)).collect();
    let inside: Vec<_> = inside.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let archive = gzip(&tar(&inside));
    let archived = [("repo.tar.gz", archive.as_slice())];
    for (case, files, in_store) in
        [("files", files.as_slice(), false), ("uploads", &files, true), ("an archive", &archived, false)]
    {
        let (result, facade) = run("Checkpoint", files, in_store).await;
        let model = result.unwrap_or_else(|error| panic!("{case}: {}", error.report().message));
        assert_eq!((model.family.as_str(), model.prediction_type.as_deref()), ("Sd2", Some("v_prediction")));
        let names = names(&model);
        assert_eq!(names[0], "unet/diffusion_pytorch_model.safetensors", "{case}: the Model is known by it");
        assert_eq!(names.len(), 6, "{case}: {names:?}");
        assert_eq!(facade.stored().len(), if in_store { 0 } else { 6 }, "{case}");
    }
}

#[tokio::test]
async fn a_folder_of_an_unknown_family_is_refused() {
    let mut files = folder();
    files[5].1 = file_of(&[("something.else.weight", &[8])]);
    let entries: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let (result, facade) = run("Checkpoint", &[("m.tar", &tar(&entries))], false).await;
    let error = result.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("UnknownFamily", false));
    assert!(facade.stored().is_empty());
}

#[tokio::test]
async fn two_files_of_a_name_are_not_one_model() {
    let (a, b) = (tiny_checkpoint(), tiny_checkpoint());
    let (result, _) = run("Checkpoint", &[("m.safetensors", &a), ("m.safetensors", &b)], false).await;
    assert_eq!(result.unwrap_err().reason(), "AmbiguousFiles");
}
