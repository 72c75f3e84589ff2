//! A worker in this process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use easel_protocol::{FailureReport, GenerationRequest, Sampler, Schedule, Task};
use easel_runtime::cli::{Cli, Command};
use easel_runtime::engine::{DiffusionEngine, Engine};
use easel_runtime::import::ImportConfig;
use easel_runtime::worker::{ServeConfig, Shutdown, serve};
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::engine::FakeEngine;
use super::facade::FakeFacade;

pub struct TestWorker {
    pub engine: Arc<FakeEngine>,
    pub shutdown: Shutdown,
    pub address: SocketAddr,
    pub cache: PathBuf,
    task: Mutex<JoinHandle<Result<(), FailureReport>>>,
    _directory: TempDir,
}

impl TestWorker {
    pub fn start(facade: &FakeFacade) -> Self {
        Self::start_with(facade, |_| {})
    }

    pub fn start_with(facade: &FakeFacade, change: impl FnOnce(&mut ServeConfig)) -> Self {
        let engine = Arc::new(FakeEngine::default());
        Self::start_on(facade, engine.clone(), engine, change)
    }

    /// With the engine that draws.
    pub fn start_real(facade: &FakeFacade) -> Self {
        Self::start_on(facade, Arc::default(), Arc::new(DiffusionEngine::default()), |_| {})
    }

    fn start_on(
        facade: &FakeFacade,
        fake: Arc<FakeEngine>,
        engine: Arc<dyn Engine>,
        change: impl FnOnce(&mut ServeConfig),
    ) -> Self {
        easel_runtime::net::install_tls();
        let directory = tempfile::tempdir().unwrap();
        let token = directory.path().join("token");
        std::fs::write(&token, "test-token\n").unwrap();
        let cache = directory.path().join("cache");
        let address = free_address();
        let arguments = [
            "easel-runtime".to_owned(),
            "serve".to_owned(),
            format!("--facade-url={}", facade.url()),
            format!("--token-file={}", token.display()),
            format!("--cache-dir={}", cache.display()),
            format!("--listen={address}"),
            "--claim-wait-seconds=1".to_owned(),
        ];
        let Command::Serve(mut config) = Cli::try_parse_from(arguments).unwrap().command else {
            unreachable!("serve was asked for")
        };
        change(&mut config);
        let shutdown = Shutdown::new();
        let task = Mutex::new(tokio::spawn(serve(*config, engine, shutdown.clone())));
        Self { engine: fake, shutdown, address, cache, task, _directory: directory }
    }

    /// Drains the worker and waits for its end.
    pub async fn stop(&self) -> Result<(), FailureReport> {
        self.shutdown.begin();
        self.ended().await
    }

    /// Waits until the worker ends by itself.
    pub async fn ended(&self) -> Result<(), FailureReport> {
        let limit = std::time::Duration::from_secs(60);
        let mut task = self.task.lock().await;
        tokio::time::timeout(limit, &mut *task).await.expect("the worker does not end").unwrap()
    }

    /// Status and body of a page of the worker's own server.
    pub async fn page(&self, path: &str) -> (u16, String) {
        let url = format!("http://{}{path}", self.address);
        let client = easel_runtime::net::plain_client().unwrap();
        match client.get(url).send().await {
            Ok(response) => (response.status().as_u16(), response.text().await.unwrap()),
            Err(_) => (0, String::new()),
        }
    }

    /// Waits until `/readyz` shows `word`.
    pub async fn shows(&self, word: &str) -> u16 {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let (status, body) = self.page("/readyz").await;
            if body.contains(word) {
                return status;
            }
            assert!(std::time::Instant::now() < deadline, "/readyz shows {status} {body}, not {word}");
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub fn request(prompt: &str) -> GenerationRequest {
    GenerationRequest {
        task: Task::TextToImage,
        prompt: prompt.to_owned(),
        negative_prompt: String::new(),
        checkpoint: "m".to_owned(),
        width: 64,
        height: 64,
        steps: 4,
        guidance_scale: 7.0,
        sampler: Sampler::EulerAncestral,
        schedule: Schedule::Automatic,
        seed: 7,
        batch_size: 1,
        batch_count: 1,
        clip_skip: 1,
        eta: None,
        networks: Vec::new(),
    }
}

/// An import against `facade`, whose user-named addresses may be at 127.0.0.1 and nowhere else on this machine.
pub fn import_config(facade: &FakeFacade, directory: &TempDir) -> ImportConfig {
    easel_runtime::net::install_tls();
    let token = directory.path().join("token");
    std::fs::write(&token, "test-token").unwrap();
    let arguments = [
        "easel-runtime".to_owned(),
        "import".to_owned(),
        format!("--facade-url={}", facade.url()),
        format!("--token-file={}", token.display()),
        format!("--work-dir={}", directory.path().display()),
        "--allowed-cidrs=127.0.0.1/32".to_owned(),
        "--stall-seconds=1".to_owned(),
        "--fetch-retries=2".to_owned(),
    ];
    let Command::Import(config) = Cli::try_parse_from(arguments).unwrap().command else {
        unreachable!("import was asked for")
    };
    *config
}
