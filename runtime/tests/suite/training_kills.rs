//! The trainer, killed at seeded moments, told to stop, and started again: the file and the losses are those of a run
//! that nothing interrupted.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use easel_protocol::training::{TrainResult, TrainedFile};
use tokio::process::{Child, Command};

use crate::support::{TrainingServer, lesson, lora_method, reds, sha256_hex};

const KILLS: u64 = 4;
const STEPS: u64 = 12;

fn start(server: &TrainingServer, directory: &Path) -> Child {
    let token = directory.join("token");
    std::fs::write(&token, "test-token").unwrap();
    let work = directory.join("work");
    std::fs::create_dir_all(&work).unwrap();
    Command::new(env!("CARGO_BIN_EXE_easel-runtime"))
        .arg("run-training")
        .env_clear()
        .env("EASEL_FACADE_URL", server.url())
        .env("EASEL_TOKEN_FILE", token)
        .env("EASEL_WORK_DIR", work)
        .env("EASEL_TERMINATION_LOG", directory.join("termination-log"))
        .env("EASEL_THREADS", "2")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Steps that the trainer in this directory has written down.
fn steps(directory: &Path) -> u64 {
    let text = std::fs::read_to_string(directory.join("work/losses.csv")).unwrap_or_default();
    text.lines().last().and_then(|line| line.split(',').next()?.parse().ok()).unwrap_or(0)
}

/// Waits until it has done `step`.
async fn has_done(step: u64, child: &mut Child, directory: &Path) {
    let reached = async {
        while steps(directory) < step {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = reached => {}
        ended = child.wait() => panic!("it ended by itself: {ended:?}"),
        () = tokio::time::sleep(Duration::from_secs(300)) => panic!("no step {step}"),
    }
}

async fn ended(child: Child) -> (Option<i32>, String) {
    let output = tokio::time::timeout(Duration::from_secs(600), child.wait_with_output()).await;
    let output = output.expect("it does not end").unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn result(directory: &Path) -> TrainResult {
    serde_json::from_slice(&std::fs::read(directory.join("termination-log")).unwrap()).unwrap()
}

async fn to_the_end(server: &TrainingServer, directory: &Path) -> TrainedFile {
    let (code, log) = ended(start(server, directory)).await;
    assert_eq!(code, Some(0), "{log}");
    match result(directory) {
        TrainResult::Succeeded(trained) => trained,
        other => panic!("{other:?}"),
    }
}

/// All columns but the time that a step took.
fn losses(server: &TrainingServer) -> Vec<String> {
    let text = String::from_utf8(server.newest("losses.csv").unwrap()).unwrap();
    text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect()
}

async fn prepared() -> (TrainingServer, tempfile::TempDir) {
    let server = TrainingServer::start().await;
    reds(&server);
    server.task(lesson(&server, lora_method()));
    (server, tempfile::tempdir().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_training_makes_the_same_file() {
    let (plain, directory) = prepared().await;
    let want = to_the_end(&plain, directory.path()).await;
    assert_eq!(plain.checkpoints(), [3, 6, 9, 12]);
    assert_eq!(losses(&plain).len() as u64, 1 + STEPS);

    let (server, directory) = prepared().await;
    let mut state = 20_261_122_u64;
    for kill in 0..KILLS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let begin = server.checkpoints().last().copied().unwrap_or(0);
        let _ = std::fs::remove_file(directory.path().join("work/losses.csv"));
        let mut child = start(&server, directory.path());
        // One to three steps further, so that four do not reach the end, and some way into the next: while it computes,
        // while it writes a checkpoint, while it sends one.
        has_done((begin + 1 + (state >> 33) % 3).min(STEPS - 4), &mut child, directory.path()).await;
        tokio::time::sleep(Duration::from_millis((state >> 40) % 40)).await;
        child.kill().await.unwrap();
        // Every other pod has a new volume.
        if kill % 2 == 1 {
            std::fs::remove_dir_all(directory.path().join("work")).unwrap();
        }
    }
    let killed = server.checkpoints().last().copied().unwrap_or(0);
    assert!(killed < STEPS, "the kills came too late: {:?}", server.checkpoints());

    let _ = std::fs::remove_file(directory.path().join("work/losses.csv"));
    let mut child = start(&server, directory.path());
    has_done(killed + 1, &mut child, directory.path()).await;
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let (code, log) = ended(child).await;
    assert_eq!(code, Some(143), "{log}");
    let TrainResult::Interrupted { step } = result(directory.path()) else { panic!("{log}") };
    assert!(step > killed && step < STEPS, "{step} after {killed}");
    assert_eq!(server.checkpoints().last(), Some(&step), "what was done is stored");

    let trained = to_the_end(&server, directory.path()).await;
    assert_eq!(trained.file.sha256, want.file.sha256, "the file is the same, bit for bit");
    assert_eq!((trained.steps, trained.loss), (STEPS, want.loss));
    assert_eq!(losses(&server), losses(&plain));
    let stored = server.object(&trained.file.key).unwrap();
    assert_eq!(sha256_hex(&stored), trained.file.sha256);
    assert_eq!(server.samples().get(&12), Some(&2));
}
