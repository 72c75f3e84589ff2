//! An S3 service on this machine for as long as the measurement takes, and presigned addresses for it (Amazon S3 API
//! reference, "Authenticating requests: using query parameters"), since the runtime itself knows nothing of S3.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::Failure;

const ACCESS_KEY: &str = "root";
const SECRET_KEY: &str = "a-secret-of-the-measurement";
const REGION: &str = "us-east-1";
const BUCKET: &str = "easel";
/// Seconds that an address is good for.
const LIFE: u32 = 3600;
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module.
pub struct Versitygw {
    host: String,
    _process: Child,
    _data: TempDir,
}

impl Versitygw {
    pub async fn start() -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        let root = data.path().join("gateway");
        std::fs::create_dir_all(root.join(BUCKET))?;
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let host = format!("127.0.0.1:{port}");
        // It goes with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(binary()?);
        command.args(["--port", &host, "--region", REGION]).arg("posix").arg(&root);
        command.env("ROOT_ACCESS_KEY", ACCESS_KEY).env("ROOT_SECRET_KEY", SECRET_KEY);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).kill_on_drop(true);
        let process = command.spawn()?;
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(&host).await.is_err() {
            if Instant::now() > deadline {
                return Err(format!("versitygw does not listen on {host}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { host, _process: process, _data: data })
    }

    /// Puts an object there and answers where it is to be had.
    pub async fn store(&self, key: &str, content: Bytes) -> Result<String, Failure> {
        let now = std::time::SystemTime::now();
        let http = easel_runtime::net::plain_client()?;
        let answer = http.put(self.signed("PUT", key, now)?).body(content).send().await?;
        if !answer.status().is_success() {
            return Err(format!("versitygw answers {} to a PUT", answer.status()).into());
        }
        self.signed("GET", key, now)
    }

    fn signed(&self, method: &str, key: &str, now: std::time::SystemTime) -> Result<String, Failure> {
        let stamp = stamp(now.duration_since(std::time::UNIX_EPOCH)?.as_secs());
        let day = &stamp[..8];
        let scope = format!("{day}/{REGION}/s3/aws4_request");
        let credential = format!("{ACCESS_KEY}/{scope}").replace('/', "%2F");
        let query = format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={stamp}&X-Amz-Expires={LIFE}\
             &X-Amz-SignedHeaders=host"
        );
        let (host, path) = (&self.host, format!("/{BUCKET}/{key}"));
        let request = format!("{method}\n{path}\n{query}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD");
        let digest = hex::encode(Sha256::digest(request));
        let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}");
        let mut signing_key = format!("AWS4{SECRET_KEY}").into_bytes();
        for word in [day, REGION, "s3", "aws4_request"] {
            signing_key = hmac(&signing_key, word.as_bytes());
        }
        let signature = hex::encode(hmac(&signing_key, text.as_bytes()));
        Ok(format!("http://{host}{path}?{query}&X-Amz-Signature={signature}"))
    }
}

/// HMAC-SHA256 (RFC 2104); no key here is longer than a block.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new_with_prefix(pad(0x36)).chain_update(text).finalize();
    Sha256::new_with_prefix(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// Seconds since 1970 as `20261122T031500Z` (days to a date: Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
fn stamp(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", time / 3600, time / 60 % 60, time % 60)
}

fn binary() -> Result<PathBuf, Failure> {
    let cached = std::env::home_dir().map(|home| home.join(".cache/easel/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places =
        cached.into_iter().chain(std::env::split_paths(&path)).map(|place| place.join("versitygw"));
    places.find(|file| file.is_file()).ok_or_else(|| "versitygw is missing: run tools/deps.sh test".into())
}
