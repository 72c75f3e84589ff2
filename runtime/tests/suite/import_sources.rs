//! Imports from hubs, model sites and volumes: what is chosen, who is asked with which token, and what is said when it
//! does not work.

use std::os::unix::fs::symlink;

use easel_protocol::import::{ImportedModel, Origin as From};
use easel_runtime::import::{ImportConfig, ImportError, import};

use crate::support::{
    COMMIT, FakeFacade, Holdings, Hub, VERSION, import_config, lora, sha256_hex, tiny_checkpoint,
};

const TOKEN: &str = "hf_token";

fn hugging_face(hub: &Hub, files: &[&str], ignore: &[&str], token: Option<&str>) -> From {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    From::HuggingFace {
        endpoint: hub.url.clone(),
        repository: "team/model".into(),
        revision: "refs/pr/1".into(),
        files: owned(files),
        ignore: owned(ignore),
        token: token.map(str::to_owned),
    }
}

fn civitai(hub: &Hub, token: Option<&str>) -> From {
    From::Civitai {
        endpoint: format!("{}/", hub.url),
        model_version_id: VERSION,
        token: token.map(str::to_owned),
    }
}

async fn run(from: From) -> Result<ImportedModel, ImportError> {
    run_with(from, |_| {}).await
}

async fn run_with(from: From, set: impl FnOnce(&mut ImportConfig)) -> Result<ImportedModel, ImportError> {
    let facade = FakeFacade::start().await;
    facade.import_task("Checkpoint", from, None);
    let directory = tempfile::tempdir().unwrap();
    let mut config = import_config(&facade, &directory);
    set(&mut config);
    import(&config).await
}

/// Reason, retriable and message of a failure, which shows no token.
async fn failure(from: From) -> (String, bool, String) {
    let report = run(from).await.unwrap_err().report();
    assert!(!report.message.contains(TOKEN) && !report.message.contains("wrong"), "{}", report.message);
    (report.reason, report.retriable, report.message)
}

fn repository() -> Holdings {
    Holdings {
        repository: "team/model",
        files: vec![
            ("README.md", b"a model".to_vec()),
            ("config.json", b"{}".to_vec()),
            ("big.safetensors", tiny_checkpoint()),
            ("big.ckpt", b"\x80\x02}.".to_vec()),
            ("style/lora.safetensors", lora()),
        ],
        ..Holdings::default()
    }
}

#[tokio::test]
async fn the_one_weight_file_of_a_repository_is_imported_from_its_commit() {
    let hub = Hub::start(Holdings { gate: Some(TOKEN), busy: 1, ..repository() }).await;
    let model = run(hugging_face(&hub, &[], &[], Some(TOKEN))).await.unwrap();
    let file = tiny_checkpoint();
    assert_eq!(model.files.len(), 1);
    let stored = &model.files[0];
    assert_eq!((stored.name.as_str(), stored.size_bytes), ("big.safetensors", file.len() as u64));
    assert_eq!((stored.sha256.as_str(), model.family.as_str()), (sha256_hex(&file).as_str(), "Sd1"));

    let asked = hub.asked();
    assert!(asked.iter().all(|call| call.authorization.as_deref() == Some("Bearer hf_token")), "{asked:?}");
    assert!(asked.iter().all(|call| !call.path.contains(TOKEN)), "{asked:?}");
    assert_eq!(asked[1].path, "/api/models/team/model/revision/refs%2Fpr%2F1");
    let pages = asked.iter().filter(|call| call.path.starts_with("/api/models/team/model/tree/")).count();
    assert_eq!(pages, 3, "six entries, two a page: {asked:?}");
    let resolved = format!("/team/model/resolve/{COMMIT}/big.safetensors");
    assert!(asked[1 + 1 + pages..].iter().all(|call| call.path == resolved), "{asked:?}");
    let fetched = hub.fetched();
    assert!(!fetched.is_empty() && fetched.iter().all(|call| call.authorization.is_none()), "{fetched:?}");
}

#[tokio::test]
async fn named_files_keep_their_folders_and_others_are_left() {
    let hub = Hub::start(repository()).await;
    let model = run(hugging_face(&hub, &["*.safetensors", "*.json"], &["style/"], None)).await.unwrap();
    let names: Vec<&str> = model.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["config.json", "big.safetensors"]);
    assert_eq!(model.files[0].sha256, sha256_hex(b"{}"));
    let fetched = hub.fetched();
    assert!(fetched.iter().all(|call| call.path.contains(&sha256_hex(&tiny_checkpoint()))), "{fetched:?}");
}

#[tokio::test]
async fn a_repository_that_cannot_be_had_says_what_helps() {
    let hub = Hub::start(Holdings { gate: Some(TOKEN), ..repository() }).await;
    let other = |revision: &str, repository: &str| From::HuggingFace {
        endpoint: hub.url.clone(),
        repository: repository.into(),
        revision: revision.into(),
        files: vec![],
        ignore: vec![],
        token: Some("wrong".into()),
    };
    let cases: [(From, &str, &[&str]); 6] = [
        (
            hugging_face(&hub, &[], &[], None),
            "SourceForbidden",
            &["team/model", "401", "accept its licence", "tokenSecretRef"],
        ),
        (hugging_face(&hub, &[], &[], Some("wrong")), "SourceForbidden", &["team/model", "403"]),
        (other("main", "team/none"), "SourceNotFound", &["team/none", &hub.url, "tokenSecretRef"]),
        (other("v9", "team/model"), "RevisionNotFound", &["team/model", "\"v9\""]),
        (hugging_face(&hub, &["*.bin"], &[], None), "NoFiles", &["pattern \"*.bin\"", "big.safetensors"]),
        (hugging_face(&hub, &[], &[], Some("line\nbreak")), "InvalidToken", &["team/model"]),
    ];
    for (from, reason, words) in cases {
        let (got, retriable, message) = failure(from).await;
        assert_eq!((got.as_str(), retriable), (reason, false), "{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    }
    assert!(hub.fetched().is_empty(), "nothing is transferred");
}

#[tokio::test]
async fn a_hub_that_lies_is_not_believed() {
    let lie = Holdings { lie: Some("0".repeat(64)), ..repository() };
    let elsewhere = Holdings { next_page: Some("http://127.0.0.1:9/page".into()), ..repository() };
    let climbs = Holdings { files: vec![("../../etc/passwd", vec![1])], ..repository() };
    for (holdings, reason, word) in [
        (lie, "ChecksumMismatch", "0000"),
        (elsewhere, "SourceAnswerInvalid", "another server"),
        (climbs, "SourceAnswerInvalid", "no path of a file"),
    ] {
        let hub = Hub::start(holdings).await;
        let (got, retriable, message) = failure(hugging_face(&hub, &[], &[], Some(TOKEN))).await;
        assert_eq!((got.as_str(), retriable), (reason, false), "{message}");
        assert!(message.contains(word), "{message}");
    }
    let busy = Hub::start(Holdings { busy: usize::MAX, ..repository() }).await;
    let (reason, retriable, _) = failure(hugging_face(&busy, &[], &[], None)).await;
    assert_eq!((reason.as_str(), retriable), ("SourceUnavailable", true));
    assert_eq!(busy.asked().len(), 4);
}

#[tokio::test]
async fn the_primary_file_of_a_version_is_imported() {
    let holdings = || Holdings {
        files: vec![("Name of v1.safetensors", tiny_checkpoint())],
        gate: Some(TOKEN),
        ..Holdings::default()
    };
    let hub = Hub::start(holdings()).await;
    let model = run(civitai(&hub, Some(TOKEN))).await.unwrap();
    assert_eq!(model.files[0].name, "Name of v1.safetensors");
    assert_eq!(model.files[0].sha256, sha256_hex(&tiny_checkpoint()));
    assert!(hub.asked().iter().all(|call| call.authorization.as_deref() == Some("Bearer hf_token")));
    assert!(hub.asked().iter().all(|call| !call.path.contains("token=")), "{:?}", hub.asked());
    assert!(hub.fetched().iter().all(|call| call.authorization.is_none()), "{:?}", hub.fetched());

    let (reason, retriable, message) = failure(civitai(&hub, None)).await;
    assert_eq!((reason.as_str(), retriable), ("SourceForbidden", false));
    assert!(message.contains("version 128713") && message.contains("tokenSecretRef"), "{message}");
    let lying = Hub::start(Holdings { lie: Some("1".repeat(64)), ..holdings() }).await;
    assert_eq!(failure(civitai(&lying, Some(TOKEN))).await.0, "ChecksumMismatch");
    let none = From::Civitai { endpoint: hub.url.clone(), model_version_id: 1, token: None };
    let (reason, _, message) = failure(none).await;
    assert_eq!(reason, "SourceNotFound");
    assert!(message.contains("modelVersionId"), "{message}");
}

#[tokio::test]
async fn a_volumes_file_is_copied_and_nothing_beside_the_volume() {
    let place = tempfile::tempdir().unwrap();
    let volume = place.path().join("volume");
    std::fs::create_dir_all(volume.join("sd")).unwrap();
    let file = tiny_checkpoint();
    std::fs::write(volume.join("sd/a.safetensors"), &file).unwrap();
    std::fs::write(volume.join("sd/huge.safetensors"), vec![0; (1 << 20) + 1]).unwrap();
    std::fs::write(place.path().join("beside.safetensors"), &file).unwrap();
    symlink("../../beside.safetensors", volume.join("sd/out.safetensors")).unwrap();
    let run = |path: &str| {
        let volume = volume.clone();
        run_with(From::Volume { path: path.into() }, move |config| config.volume_dir = volume)
    };
    let model = run("sd/a.safetensors").await.unwrap();
    assert_eq!((model.files[0].name.as_str(), &model.files[0].sha256), ("a.safetensors", &sha256_hex(&file)));
    assert!(std::fs::read(volume.join("sd/a.safetensors")).unwrap() == file, "it is still there");
    for (path, reason) in [
        ("sd/out.safetensors", "PathRefused"),
        ("../beside.safetensors", "PathRefused"),
        ("sd/none.safetensors", "SourceNotFound"),
        ("sd/huge.safetensors", "FileTooLarge"),
    ] {
        let report = run(path).await.unwrap_err().report();
        assert_eq!((report.reason.as_str(), report.retriable), (reason, false), "{}", report.message);
        assert!(report.message.contains(path), "{}", report.message);
    }
}
