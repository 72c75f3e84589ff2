//! How fast files are transferred from an HTTP server and from an S3 service on this machine, in one go and through
//! ten kills.
//!
//! `cargo run --release -p easel-runtime --example transfer [MIB]` prints bytes per second of a file of so many MiB
//! (default 512) over 1, 2, 4 and 8 connections, synced part by part and hashed, and then of the same file when the
//! fetching process is killed (`kill -9`) ten times, each after a random number of whole parts, and started again.
//! Server and client share the machine. The S3 service is versitygw, which `tools/deps.sh test` installs; the file is
//! put there and read from there at presigned addresses.

#[allow(dead_code, reason = "the measurement needs no faults")]
#[path = "../tests/suite/support/ranged.rs"]
mod ranged;
#[path = "transfer/versitygw.rs"]
mod versitygw;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use easel_runtime::fetch::{FetchPolicy, PART_BYTES, PartFile, PlainSource, fetch_file};
use ranged::RangedServer;
use sha2::{Digest, Sha256};
use versitygw::Versitygw;

pub type Failure = Box<dyn std::error::Error>;

const KILLS: u64 = 10;
/// Longer than the slowest disk takes for a few parts.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    easel_runtime::net::install_tls();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [command, url, path] if command == "fetch" => {
            println!("{}", fetch(url, Path::new(path), 4).await?);
            Ok(())
        }
        [mebibytes] => measure(mebibytes.parse()?).await,
        _ => measure(512).await,
    }
}

/// The hash of what was fetched.
async fn fetch(url: &str, path: &Path, connections: usize) -> Result<String, Failure> {
    let source = PlainSource { http: easel_runtime::net::plain_client()?, url: url.parse()? };
    let policy = FetchPolicy { connections, ..FetchPolicy::new(u64::MAX) };
    let received = fetch_file(&source, &PartFile::new(path, "measurement"), &policy, &mut |_| {}).await?;
    Ok(received.sha256)
}

/// What is measured: a file of so many bytes with this hash, to be had at an address.
struct Origin<'a> {
    name: &'static str,
    url: String,
    size: u64,
    sha256: &'a str,
}

async fn measure(mebibytes: usize) -> Result<(), Failure> {
    let content = Bytes::from(noise(mebibytes << 20));
    let sha256 = hex::encode(Sha256::digest(&content));
    let size = content.len() as u64;
    let server = RangedServer::start(content.clone()).await;
    Origin { name: "HTTP server", url: server.url(), size, sha256: &sha256 }.measure().await?;
    let gateway = Versitygw::start().await?;
    let url = gateway.store("m.safetensors", content).await?;
    Origin { name: "versitygw", url, size, sha256: &sha256 }.measure().await
}

impl Origin<'_> {
    async fn measure(&self) -> Result<(), Failure> {
        let directory = tempfile::tempdir()?;
        for connections in [1, 2, 4, 8] {
            let path = directory.path().join(format!("{connections}.part"));
            let began = Instant::now();
            let sha256 = fetch(&self.url, &path, connections).await?;
            self.show(&format!("{connections} connections"), began, sha256 == self.sha256)?;
            std::fs::remove_file(path)?;
        }
        self.killed(&directory.path().join("killed.part")).await
    }

    /// The same through ten kills, each after up to a tenth of the parts.
    async fn killed(&self, path: &Path) -> Result<(), Failure> {
        let program = std::env::current_exe()?;
        let start = || {
            let mut command = tokio::process::Command::new(&program);
            command.arg("fetch").arg(&self.url).arg(path).stdout(std::process::Stdio::piped());
            command.kill_on_drop(true).spawn()
        };
        let began = Instant::now();
        let parts = self.size.div_ceil(PART_BYTES);
        let mut state = 20_261_121_u64;
        let (mut goal, mut kills) = (0, 0);
        for _ in 0..KILLS {
            let mut child = start()?;
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Not on the stroke of a part either.
            let pause = Duration::from_millis((state >> 40) % 20);
            goal += (state >> 33) % (parts / KILLS + 1);
            let deadline = Instant::now() + PATIENCE;
            while whole_parts(path) < goal && child.try_wait()?.is_none() && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(pause).await;
            kills += u64::from(child.try_wait()?.is_none());
            child.kill().await?;
        }
        let there = whole_parts(path);
        let output = start()?.wait_with_output().await?;
        let equal = output.stdout.trim_ascii() == self.sha256.as_bytes() && sha256_of(path)? == self.sha256;
        let what = format!("4 connections, {kills} kills, the last process found {there} of {parts} parts");
        self.show(&what, began, equal)
    }

    fn show(&self, what: &str, began: Instant, equal: bool) -> Result<(), Failure> {
        let (megabytes, seconds) = (self.size as f64 / 1e6, began.elapsed().as_secs_f64());
        let name = self.name;
        println!("{name}, {what}: {megabytes:.0} MB in {seconds:.2} s, {:.0} MB/s", megabytes / seconds);
        println!("{name}, {what}: files equal: {equal}");
        if equal { Ok(()) } else { Err("the files differ".into()) }
    }
}

/// Parts that the record beside a file names: a line each, after the first.
fn whole_parts(path: &Path) -> u64 {
    let mut record = path.as_os_str().to_owned();
    record.push(".ranges");
    let text = std::fs::read(PathBuf::from(record)).unwrap_or_default();
    (text.iter().filter(|byte| **byte == b'\n').count() as u64).saturating_sub(1)
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
