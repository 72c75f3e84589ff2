//! The import program, killed at ten random moments and started again in the same working directory.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use easel_protocol::import::Origin as From;
use tokio::process::{Child, Command};

use crate::support::{FakeFacade, RangedServer, sha256_hex, with_header};

const PART: u64 = 256 << 10;
const CONNECTIONS: u64 = 4;
const KILLS: u64 = 10;
/// What a socket's buffers may swallow of one connection before the other side is dead.
const BUFFERED: u64 = 8 << 20;

/// A checkpoint of 24 MiB, the bytes of its tensor all different.
fn checkpoint() -> Vec<u8> {
    let len = 24 << 20;
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

fn start(facade: &FakeFacade, directory: &Path) -> Child {
    let token = directory.join("token");
    std::fs::write(&token, "test-token").unwrap();
    Command::new(env!("CARGO_BIN_EXE_easel-runtime"))
        .arg("import")
        .env_clear()
        .env("EASEL_FACADE_URL", facade.url())
        .env("EASEL_TOKEN_FILE", token)
        .env("EASEL_WORK_DIR", directory)
        .env("EASEL_ALLOWED_CIDRS", "127.0.0.1/32")
        .env("EASEL_TERMINATION_LOG", directory.join("termination-log"))
        .env("EASEL_FETCH_PART_BYTES", PART.to_string())
        .env("EASEL_FETCH_CONNECTIONS", CONNECTIONS.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
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
    let bytes = checkpoint();
    let server = RangedServer::start(bytes.clone()).await;
    server.throttle(48 << 20);
    let facade = FakeFacade::start().await;
    facade.import_files(
        "Checkpoint",
        vec![("m.safetensors", From::Http { url: server.url(), headers: vec![] })],
        1 << 20,
    );
    let directory = tempfile::tempdir().unwrap();
    let mut state = 20_261_121_u64;
    for _ in 0..KILLS {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = start(&facade, directory.path());
        // Up to 1.5 MiB further, so that ten do not reach the end: within a part, between two, at the start.
        sent_more(&server, &mut child, (state >> 33) % (3 << 19)).await;
        child.kill().await.unwrap();
    }
    let before_last = server.sent();
    let output = start(&facade, directory.path()).wait_with_output();
    let output = tokio::time::timeout(Duration::from_secs(120), output).await.unwrap().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    let (sha256, stored) = facade.stored().pop().unwrap();
    assert_eq!(sha256, sha256_hex(&bytes));
    assert!(stored == bytes, "the stored file is the one at the server");
    assert!(log.contains("continued"), "the last run found what the others had left: {log}");
    let size = bytes.len() as u64;
    assert!(server.sent() - before_last < size, "the last run fetched the rest only");
    let lost = KILLS * CONNECTIONS * PART + BUFFERED;
    assert!(server.sent() <= size + lost + KILLS * PART, "{} bytes were sent for {size}", server.sent());
}
