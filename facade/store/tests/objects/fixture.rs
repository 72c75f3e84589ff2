//! The two services, each empty and on a port of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use easel_store::objects::{EmbeddedS3, ObjectKey, ObjectStore as _, S3Options, S3Store};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

pub const BUCKET: &str = "easel";
const DEADLINE: Duration = Duration::from_secs(30);

/// Keeps the service running.
enum Service {
    Embedded { task: JoinHandle<()> },
    Versitygw { process: Child },
}

pub struct Fixture {
    pub store: S3Store,
    /// The service under the name that workers know.
    pub worker: Url,
    /// The service under the name that clients know.
    pub public: Url,
    pub http: reqwest::Client,
    service: Service,
    _directory: tempfile::TempDir,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        match &mut self.service {
            Service::Embedded { task } => task.abort(),
            Service::Versitygw { process } => {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

impl Fixture {
    pub fn is_embedded(&self) -> bool {
        matches!(self.service, Service::Embedded { .. })
    }

    pub async fn embedded() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let s3 = EmbeddedS3::open(&directory.path().join("objects"), BUCKET).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(serve(listener, s3.clone()));
        let (worker, public) = addresses(port);
        let store = S3Store::embedded(&s3, worker.clone(), None).unwrap();
        Self {
            store,
            worker,
            public,
            http: plain_client(),
            service: Service::Embedded { task },
            _directory: directory,
        }
    }

    pub async fn versitygw() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("gateway").join(BUCKET)).unwrap();
        let (process, port) = start_versitygw(&directory.path().join("gateway")).await;
        let (worker, public) = addresses(port);
        let options = S3Options {
            endpoint: worker.clone(),
            worker_endpoint: None,
            public_endpoint: Some(public.clone()),
            region: "us-east-1".into(),
            bucket: BUCKET.into(),
            path_style: true,
            access_key_id: "root".into(),
            secret_access_key: "a-secret-of-the-test".into(),
        };
        let store = S3Store::connect(&options).unwrap();
        let service = Service::Versitygw { process };
        let fixture = Self { store, worker, public, http: plain_client(), service, _directory: directory };
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) = fixture.store.ping().await {
            assert!(Instant::now() < deadline, "versitygw is not ready: {error:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fixture
    }
}

/// Two names of one listener: a URL that is signed for one is not valid under the other.
fn addresses(port: u16) -> (Url, Url) {
    let address = |host: &str| format!("http://{host}:{port}").parse().unwrap();
    (address("localhost"), address("127.0.0.1"))
}

/// Knows nothing of S3.
pub fn plain_client() -> reqwest::Client {
    // Another test may have been quicker.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap()
}

pub fn key(key: &str) -> ObjectKey {
    ObjectKey::new(key).unwrap()
}

/// As the facade serves it.
pub async fn serve(listener: TcpListener, s3: EmbeddedS3) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let s3 = s3.clone();
        let service = hyper::service::service_fn(move |request| {
            let s3 = s3.clone();
            async move { Ok::<_, std::convert::Infallible>(s3.call(request).await) }
        });
        connections.spawn(async move {
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // A client that goes away is part of some tests.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Ports are taken by others between being free and being used, so this tries a few.
async fn start_versitygw(data: &Path) -> (Child, u16) {
    let binary = versitygw();
    for _ in 0..5 {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&binary);
        command.args(["--port", &format!("127.0.0.1:{free}")]).args(["--region", "us-east-1"]);
        command.env("ROOT_ACCESS_KEY", "root").env("ROOT_SECRET_KEY", "a-secret-of-the-test");
        command.arg("posix").arg(data);
        let mut process =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + DEADLINE;
        while process.try_wait().unwrap().is_none() {
            if tokio::net::TcpStream::connect(("127.0.0.1", free)).await.is_ok() {
                return (process, free);
            }
            assert!(Instant::now() < deadline, "versitygw does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    panic!("versitygw does not start");
}

fn versitygw() -> PathBuf {
    let cached = std::env::home_dir().map(|home| home.join(".cache/easel/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places =
        cached.into_iter().chain(std::env::split_paths(&path)).map(|place| place.join("versitygw"));
    places.find(|file| file.is_file()).unwrap_or_else(|| {
        panic!(
            "versitygw is not installed, and the object store is tested on it too: `make test` installs it with \
             `GOBIN=~/.cache/easel/bin go install github.com/versity/versitygw/cmd/versitygw@v1.8.0`"
        )
    })
}
