//! `run-training` against a facade: what is stored and said, and how it fails.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use easel_protocol::training::{ClassConcept, TrainConcept, TrainLength, TrainMethod, TrainStage, TrainTask};
use easel_runtime::trainer::{Ended, TrainerError, run_training};
use easel_runtime::worker::Shutdown;
use tokio::time::{sleep, timeout};

use crate::support::{DEMO, TrainingServer, lesson, lora_method, picture, reds, trainer_config};

async fn trained(server: &TrainingServer, directory: &Path) -> Result<Ended, TrainerError> {
    run_training(&trainer_config(server, directory), &Shutdown::new()).await
}

async fn prepared(change: impl FnOnce(&mut TrainTask)) -> (TrainingServer, tempfile::TempDir) {
    let server = TrainingServer::start().await;
    reds(&server);
    let mut task = lesson(&server, lora_method());
    change(&mut task);
    server.task(task);
    (server, tempfile::tempdir().unwrap())
}

/// The header of safetensors, and where the numbers begin.
fn header(file: &[u8]) -> (serde_json::Value, usize) {
    let length = usize::try_from(u64::from_le_bytes(file[..8].try_into().unwrap())).unwrap();
    (serde_json::from_slice(&file[8..8 + length]).unwrap(), 8 + length)
}

/// The metadata of stored safetensors.
fn metadata(file: &[u8]) -> BTreeMap<String, String> {
    serde_json::from_value(header(file).0["__metadata__"].clone()).unwrap()
}

/// The demo model, whose last bias is infinite, as that of a training that diverged.
fn without_an_end() -> Vec<u8> {
    let mut file = std::fs::read(DEMO).unwrap();
    let (header, data) = header(&file);
    let offsets = &header["model.diffusion_model.out.2.bias"]["data_offsets"];
    let bias = data + usize::try_from(offsets[0].as_u64().unwrap()).unwrap();
    let infinity: u16 = 0x7c00;
    file[bias..bias + 2].copy_from_slice(&infinity.to_le_bytes());
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_says_what_it_is_and_how_it_came_about() {
    let (server, directory) = prepared(|task| task.hyperparameters.length = TrainLength::Epochs(2)).await;
    let Ended::Trained(trained) = trained(&server, directory.path()).await.unwrap() else {
        panic!("stopped")
    };
    assert_eq!((trained.steps, trained.file.name.as_str()), (8, "zorb.safetensors"));
    let file = server.object(&trained.file.key).unwrap();
    let said = metadata(&file);
    for (key, want) in [
        ("ss_sd_model_name", "demo"),
        ("ss_output_name", "zorb"),
        ("ss_max_train_steps", "8"),
        ("ss_num_epochs", "2"),
        ("ss_num_train_images", "4"),
        ("ss_network_dim", "2"),
        ("ss_lr_scheduler", "cosine"),
        ("ss_optimizer", "adamw"),
        ("ss_seed", "7"),
        ("easel.trigger_words", "a zorb"),
        ("easel.training_job", "lesson"),
        ("easel.instance_prompts", "[\"a zorb\"]"),
    ] {
        assert_eq!(said.get(key).map(String::as_str), Some(want), "{key}");
    }
    let base = easel_protocol::training::TrainTask::clone(&lesson(&server, lora_method())).base;
    assert_eq!(said["ss_new_sd_model_hash"], base[0].sha256);
    assert!(
        said["ss_tag_frequency"].contains("../zorb"),
        "captions of the Dataset: {}",
        said["ss_tag_frequency"]
    );
    assert_eq!(server.checkpoints(), [3, 6, 8]);
    assert_eq!(server.samples(), BTreeMap::from([(6, 2)]));
    assert!(server.object("sample-6-1.png").unwrap().starts_with(b"\x89PNG"));
    assert_eq!(server.content_type("sample-6-0.png").as_deref(), Some("image/png"));
    let told = server.progress();
    for stage in [TrainStage::Encoding, TrainStage::Training, TrainStage::Storing] {
        assert!(told.iter().any(|progress| progress.stage == stage), "{stage:?}: {told:?}");
    }
    let last = told.last().unwrap();
    assert_eq!((last.stage, last.step, last.total_steps, last.epoch), (TrainStage::Storing, 8, 8, 2));
    assert_eq!((last.done, last.total), (trained.file.size_bytes, trained.file.size_bytes));
    assert!(last.loss.is_some_and(|loss| loss > 0.0) && last.milli_seconds_per_step.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_facade_that_is_away_does_not_stop_a_run() {
    let (server, directory) = prepared(|task| task.samples = None).await;
    let config = trainer_config(&server, directory.path());
    let losses = config.work_dir.join("losses.csv");
    let lines = || std::fs::read_to_string(&losses).map_or(0, |text| text.lines().count());
    let weather = async {
        while lines() <= 1 {
            sleep(Duration::from_millis(10)).await;
        }
        server.away(true);
        while lines() <= 12 {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(server.checkpoints().last().is_none_or(|step| *step < 12));
        server.away(false);
    };
    let shutdown = Shutdown::new();
    let both = async { tokio::join!(run_training(&config, &shutdown), weather) };
    let (ended, ()) = timeout(Duration::from_secs(300), both).await.expect("it waits too long");
    assert!(matches!(ended.unwrap(), Ended::Trained(_)));
    assert_eq!(server.checkpoints().last(), Some(&12), "the last checkpoint came through");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_method_trains() {
    let small = |task: &mut TrainTask, method| {
        (task.method, task.samples) = (method, None);
        task.hyperparameters.length = TrainLength::Steps(2);
        task.hyperparameters.warmup_steps = 0;
        task.hyperparameters.exponential_moving_average = false;
    };
    let inversion = TrainMethod::TextualInversion {
        token: "zorb".to_owned(),
        vectors: 2,
        initializer_text: "red".to_owned(),
    };
    let network = TrainMethod::Hypernetwork {
        hidden_multiplier: 2.0,
        activation: "relu".to_owned(),
        layer_norm: false,
    };
    for (method, key) in [(inversion, "ss_num_vectors"), (network, "activation_func")] {
        let (server, directory) = prepared(|task| small(task, method)).await;
        let Ended::Trained(trained) = trained(&server, directory.path()).await.unwrap() else {
            panic!("stopped")
        };
        assert!(metadata(&server.object(&trained.file.key).unwrap()).contains_key(key), "{key}");
    }
    // Two subjects with a class each: one of pictures that somebody chose, one of drawn ones.
    let (server, directory) = prepared(|task| {
        small(task, TrainMethod::DreamBooth);
        let class = |dataset: Option<&str>, pictures_per_picture| ClassConcept {
            prompt: "a circle".to_owned(),
            negative_prompt: String::new(),
            dataset: dataset.map(str::to_owned),
            pictures_per_picture,
        };
        task.concepts[0].class = Some(class(Some("circles"), 1));
        task.concepts.push(TrainConcept {
            dataset: "blues".to_owned(),
            instance_prompt: "a blarp".to_owned(),
            repeats: 1,
            class: Some(class(None, 2)),
        });
    })
    .await;
    server.item("blues", "b.png", Some(&picture(64, 64, [0, 0, 255])), |_| {});
    for red in 0..5 {
        server.item("circles", &format!("{red}.png"), Some(&picture(64, 64, [red, 255, 0])), |_| {});
    }
    let Ended::Trained(trained) = trained(&server, directory.path()).await.unwrap() else {
        panic!("stopped")
    };
    let said = metadata(&server.object(&trained.file.key).unwrap());
    assert_eq!((said["ss_num_train_images"].as_str(), said["ss_num_reg_images"].as_str()), ("5", "7"));
    let drawn =
        |class: u32| std::fs::read_dir(directory.path().join(format!("work/class-{class}"))).unwrap().count();
    assert_eq!((drawn(0), drawn(1)), (0, 2), "chosen pictures come first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_named_with_its_remedy() {
    let bad = picture(64, 64, [9; 3]);
    let cases: [(&str, Option<&[u8]>, &str); 3] = [
        ("undecodable", Some(&bad[..bad.len() - 30]), "PictureUndecodable"),
        ("no picture", Some(b"<html>"), "PictureUndecodable"),
        ("missing", None, "PictureMissing"),
    ];
    for (name, bytes, reason) in cases {
        let (server, directory) = prepared(|_| {}).await;
        server.item("reds", "../bad one.png", bytes, |_| {});
        let error = trained(&server, directory.path()).await.unwrap_err();
        assert_eq!((error.reason(), error.retriable()), (reason, false), "{name}: {error}");
        let text = error.report().message;
        for part in ["../bad one.png of the Dataset reds", "disable the item"] {
            assert!(text.contains(part), "{name}: {text}");
        }
        assert!(!text.contains("work/dataset"), "{name}: {text}");
    }

    let (server, directory) = (TrainingServer::start().await, tempfile::tempdir().unwrap());
    reds(&server);
    let mut task = lesson(&server, lora_method());
    (task.base, task.samples) = (vec![server.base("broken.safetensors", &without_an_end())], None);
    server.task(task);
    let error = trained(&server, directory.path()).await.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("NotFiniteWeights", false), "{error}");
    assert!(error.report().message.contains("out.2.bias"), "{error}");

    let (server, directory) = prepared(|task| task.concepts[0].dataset = "empty".to_owned()).await;
    server.item("empty", "off.png", None, |item| item.enabled = false);
    let error = trained(&server, directory.path()).await.unwrap_err();
    assert_eq!((error.reason(), error.retriable()), ("EmptyDataset", false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trainer_that_is_told_to_stop_before_it_trains_has_done_nothing() {
    let (server, directory) = prepared(|_| {}).await;
    let shutdown = Shutdown::new();
    shutdown.begin();
    let ended = run_training(&trainer_config(&server, directory.path()), &shutdown).await.unwrap();
    assert_eq!(ended, Ended::Interrupted { step: 0 });
}
