//! How fast files are transferred from an HTTP server on this machine, in one go and through ten kills.
//!
//! `cargo run --release -p easel-runtime --example transfer [MIB]` prints bytes per second of a file of so many MiB
//! (default 512) over 1, 2, 4 and 8 connections, synced part by part and hashed, and then of the same file when the
//! fetching process is killed at ten random moments (`kill -9`) and started again. Server and client share the
//! machine.

#[allow(dead_code, reason = "the measurement needs no faults")]
#[path = "../tests/suite/support/ranged.rs"]
mod ranged;

use std::path::Path;
use std::time::{Duration, Instant};

use easel_runtime::fetch::{FetchPolicy, PartFile, PlainSource, fetch_file};
use ranged::RangedServer;
use sha2::{Digest, Sha256};

type Failure = Box<dyn std::error::Error>;

const KILLS: u32 = 10;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    easel_runtime::net::install_tls();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [command, url, path] if command == "fetch" => fetch(url, Path::new(path), 4).await,
        [mebibytes] => measure(mebibytes.parse()?).await,
        _ => measure(512).await,
    }
}

async fn fetch(url: &str, path: &Path, connections: usize) -> Result<(), Failure> {
    let source = PlainSource { http: easel_runtime::net::plain_client()?, url: url.parse()? };
    let policy = FetchPolicy { connections, ..FetchPolicy::new(u64::MAX) };
    let received = fetch_file(&source, &PartFile::new(path, "measurement"), &policy, &mut |_| {}).await?;
    println!("{}", received.sha256);
    Ok(())
}

async fn measure(mebibytes: usize) -> Result<(), Failure> {
    let content = noise(mebibytes << 20);
    let want = hex::encode(Sha256::digest(&content));
    let size = content.len() as f64 / 1e6;
    let server = RangedServer::start(content).await;
    let directory = tempfile::tempdir()?;
    for connections in [1, 2, 4, 8] {
        let path = directory.path().join(format!("{connections}.part"));
        let began = Instant::now();
        fetch(&server.url(), &path, connections).await?;
        let seconds = began.elapsed().as_secs_f64();
        println!("{connections} connections: {size:.0} MB in {seconds:.2} s, {:.0} MB/s", size / seconds);
        std::fs::remove_file(path)?;
    }
    killed(&server, &directory.path().join("killed.part"), size, &want).await
}

/// The same through ten kills: each after a random tenth of what is left, at most.
async fn killed(server: &RangedServer, path: &Path, size: f64, want: &str) -> Result<(), Failure> {
    let program = std::env::current_exe()?;
    let start = || {
        let mut command = tokio::process::Command::new(&program);
        command.arg("fetch").arg(server.url()).arg(path).stdout(std::process::Stdio::piped());
        command.kill_on_drop(true).spawn()
    };
    let (began, sent) = (Instant::now(), server.sent());
    let mut state = 20_261_121_u64;
    let mut kills = 0;
    for _ in 0..KILLS {
        let mut child = start()?;
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let goal = server.sent() + (state >> 33) % ((size * 1e6) as u64 / u64::from(KILLS));
        while server.sent() < goal && child.try_wait()?.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        kills += u32::from(child.try_wait()?.is_none());
        child.kill().await?;
    }
    let output = start()?.wait_with_output().await?;
    let seconds = began.elapsed().as_secs_f64();
    let equal = output.stdout.trim_ascii() == want.as_bytes() && sha256_of(path)? == want;
    let again = (server.sent() - sent) as f64 / 1e6 - size;
    println!(
        "{kills} kills, 4 connections: {size:.0} MB in {seconds:.2} s, {:.0} MB/s, {again:.0} MB sent twice, \
         files equal: {equal}",
        size / seconds
    );
    if equal { Ok(()) } else { Err("the files differ".into()) }
}

fn sha256_of(path: &Path) -> Result<String, Failure> {
    let mut hasher = Sha256::new();
    std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(hex::encode(hasher.finalize()))
}

/// Bytes that do not compress and of which no two parts are the same.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((state ^ (state >> 29)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
