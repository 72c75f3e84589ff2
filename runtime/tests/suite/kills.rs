//! The import program, killed and started again as another pod would be: nothing is the same but the volume that it
//! works on.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use easel_protocol::import::Origin as From;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::{FakeFacade, RangedServer, sha256_hex, with_header};

const PART: u64 = 256 << 10;
const CONNECTIONS: u64 = 4;
const KILLS: u64 = 10;
/// What a socket's buffers may swallow of one connection before the other side is dead.
const BUFFERED: u64 = 8 << 20;

/// A checkpoint of so many bytes, those of its tensor all different.
fn checkpoint(len: usize) -> Vec<u8> {
    let header = format!(
        concat!(
            r#"{{"cond_stage_model.transformer.text_model.final_layer_norm.weight":{{"dtype":"F16","shape":[1],"data_offsets":[0,2]}},"#,
            r#""model.diffusion_model.input_blocks.1.1.proj_in.weight":{{"dtype":"F16","shape":[{},1,1,1],"data_offsets":[2,{}]}}}}"#
        ),
        len / 2 - 1,
        len
    );
    let mut state = 7_u64;
    let data: Vec<u8> = (0..len / 8)
        .flat_map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_le_bytes()
        })
        .collect();
    with_header(&header, &data)
}

/// A pod of its own: its home goes with it.
struct Pod {
    child: Child,
    _home: TempDir,
}

fn start(facade: &FakeFacade, volume: &Path) -> Pod {
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    std::fs::write(&token, "test-token").unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_easel-runtime"))
        .arg("import")
        .env_clear()
        .env("EASEL_FACADE_URL", facade.url())
        .env("EASEL_TOKEN_FILE", token)
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("EASEL_WORK_DIR", volume)
        .env("EASEL_ALLOWED_CIDRS", "127.0.0.1/32")
        .env("EASEL_TERMINATION_LOG", home.path().join("termination-log"))
        .env("EASEL_FETCH_PART_BYTES", PART.to_string())
        .env("EASEL_FETCH_CONNECTIONS", CONNECTIONS.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    Pod { child, _home: home }
}

/// Its exit status and log.
async fn finish(pod: Pod) -> (Option<i32>, String) {
    let output = tokio::time::timeout(Duration::from_secs(120), pod.child.wait_with_output()).await;
    let output = output.unwrap().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Waits until the server has sent `bytes` more.
async fn sent_more(server: &RangedServer, child: &mut Child, bytes: u64) {
    let goal = server.sent() + bytes;
    let reached = async {
        while server.sent() < goal {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = reached => {}
        ended = child.wait() => panic!("it ended by itself: {ended:?}"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("nothing arrives"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_killed_ten_times_stores_the_same_file() {
    let bytes = checkpoint(24 << 20);
    let server = RangedServer::start(bytes.clone()).await;
    server.throttle(48 << 20);
    let facade = FakeFacade::start().await;
    facade.import_files(
        "Checkpoint",
        vec![("m.safetensors", From::Http { url: server.url(), headers: vec![] })],
        1 << 20,
    );
    let volume = tempfile::tempdir().unwrap();
    let mut state = 20_261_121_u64;
    for _ in 0..KILLS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut pod = start(&facade, volume.path());
        // Up to 1.5 MiB further, so that ten do not reach the end: within a part, between two, at the start.
        sent_more(&server, &mut pod.child, (state >> 33) % (3 << 19)).await;
        pod.child.kill().await.unwrap();
    }
    let before_last = server.sent();
    let (code, log) = finish(start(&facade, volume.path())).await;
    assert_eq!(code, Some(0), "{log}");
    let (sha256, stored) = facade.stored().pop().unwrap();
    assert_eq!(sha256, sha256_hex(&bytes));
    assert!(stored == bytes, "the stored file is the one at the server");
    assert!(log.contains("continued"), "the last run found what the others had left: {log}");
    let size = bytes.len() as u64;
    assert!(server.sent() - before_last < size, "the last run fetched the rest only");
    let lost = KILLS * CONNECTIONS * PART + BUFFERED;
    assert!(server.sent() <= size + lost + KILLS * PART, "{} bytes were sent for {size}", server.sent());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_files_those_that_were_stored_are_not_fetched_again() {
    let files = [checkpoint(2 << 20), checkpoint(3 << 20)];
    let servers = [RangedServer::start(files[0].clone()).await, RangedServer::start(files[1].clone()).await];
    servers[1].throttle(1 << 20);
    let facade = FakeFacade::start().await;
    let from = |at: usize| From::Http { url: servers[at].url(), headers: vec![] };
    facade.import_files("Checkpoint", vec![("a.safetensors", from(0)), ("b.safetensors", from(1))], 1 << 20);
    facade.expect_hashes(&[sha256_hex(&files[0]), sha256_hex(&files[1])]);
    let volume = tempfile::tempdir().unwrap();

    let mut pod = start(&facade, volume.path());
    sent_more(&servers[1], &mut pod.child, 1).await;
    pod.child.kill().await.unwrap();
    let asked = servers[0].requests().len();
    let (code, log) = finish(start(&facade, volume.path())).await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(servers[0].requests().len(), asked, "the first file was not asked for again");
    let stored = facade.stored();
    for bytes in &files {
        let sent = stored.iter().filter(|(_, stored)| stored == bytes).count();
        assert_eq!(sent, 1, "each was stored once, as it is at the server");
    }
    assert_eq!(std::fs::read_dir(volume.path()).unwrap().count(), 0, "the volume is empty at the end");

    // A record whose object is gone from the store is none.
    facade.forget_stored();
    let mut pod = start(&facade, volume.path());
    sent_more(&servers[1], &mut pod.child, 1).await;
    pod.child.kill().await.unwrap();
    facade.forget_stored();
    let (code, log) = finish(start(&facade, volume.path())).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(servers[0].requests().len() >= asked + 2, "it was fetched twice more");
}
