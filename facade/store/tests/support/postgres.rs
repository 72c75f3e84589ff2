//! A PostgreSQL server of one's own: Debian's binaries, a directory that goes away, a Unix socket and no port.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{AnyConnection, Connection as _};

/// Generous, for machines that do much else meanwhile.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// What the server does on a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// As in production.
    #[allow(dead_code, reason = "only the benchmark is about speed")]
    Synced,
    /// The machine is not going to lose power during a test.
    #[allow(dead_code, reason = "the benchmark is about speed")]
    Lazy,
}

pub struct Postgres {
    server: Child,
    directory: tempfile::TempDir,
}

impl Postgres {
    /// Starts a server. To be called from a thread that lives as long as it: it is killed when the thread that
    /// started it ends, so that nothing stays behind when a test is killed.
    pub async fn start(disk: Disk) -> Self {
        let bin = binaries().unwrap_or_else(|| {
            panic!(
                "PostgreSQL's server is not installed, and the job store is tested on it too: \
                 `make test` does `apt-get install postgresql`"
            )
        });
        let directory =
            tempfile::Builder::new().prefix("easel-pg-").tempdir().expect("a temporary directory");
        let user = unprivileged_user();
        if let Some((_, uid, gid)) = &user {
            chown(directory.path(), Some(*uid), Some(*gid)).expect("root may give its directory away");
        }
        let data = directory.path().join("data");
        let done = as_user(user.as_ref(), &bin.join("initdb"))
            .args(["--auth=trust", "--username=easel", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .current_dir(directory.path())
            .output()
            .expect("initdb starts");
        assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
        let log = fs::File::create(directory.path().join("log")).expect("a log file");
        let mut server = as_user(user.as_ref(), &bin.join("postgres"));
        server.arg("-D").arg(&data).arg("-k").arg(directory.path()).args(["-c", "listen_addresses="]);
        server.args(["-c", "max_connections=100"]);
        if disk == Disk::Lazy {
            server.args(["-c", "fsync=off"]);
        }
        let server =
            server.current_dir(directory.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let server = server.spawn().expect("postgres starts");
        let mut postgres = Self { server, directory };
        postgres.wait().await;
        postgres
    }

    async fn wait(&mut self) {
        let deadline = Instant::now() + START_DEADLINE;
        sqlx::any::install_default_drivers();
        while let Err(error) = AnyConnection::connect(&self.url("postgres")).await {
            let log = || fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            let ended = self.server.try_wait().expect("our own child");
            assert!(ended.is_none(), "postgres ended with {ended:?}:\n{}", log());
            assert!(Instant::now() < deadline, "postgres is not ready: {error}\n{}", log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn url(&self, database: &str) -> String {
        let socket = self.directory.path().to_str().expect("a temporary directory has a plain name");
        format!("postgres://easel@localhost/{database}?host={}", socket.replace('/', "%2F"))
    }

    /// A new, empty database.
    pub async fn database(&self, name: &str) -> String {
        let mut connection = AnyConnection::connect(&self.url("postgres")).await.expect("postgres answers");
        let statement = format!("CREATE DATABASE {name}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.expect("a new database");
        self.url(name)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // "Fast shutdown"; the directory must not go before the server.
        let interrupt = Command::new("kill").args(["-INT", &self.server.id().to_string()]).status();
        let deadline = Instant::now() + Duration::from_secs(10);
        while interrupt.as_ref().is_ok_and(std::process::ExitStatus::success) && Instant::now() < deadline {
            if matches!(self.server.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The newest of Debian's versions, or what is in the path.
fn binaries() -> Option<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    let number = |path: &PathBuf| -> u32 {
        let version = path.parent().and_then(Path::file_name).and_then(OsStr::to_str);
        version.and_then(|version| version.parse().ok()).unwrap_or(0)
    };
    found.sort_by_key(number);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut all: Vec<PathBuf> = std::env::split_paths(&path).collect();
    all.extend(found);
    all.into_iter().rev().find(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
}

/// PostgreSQL refuses to run as root.
fn unprivileged_user() -> Option<(String, u32, u32)> {
    if fs::metadata("/proc/self").expect("a Linux system").uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("a list of users");
    let find = |wanted: &str| {
        let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
        let user = users.lines().map(fields).find(|user| user.first().is_some_and(|name| name == wanted))?;
        Some((wanted.to_owned(), user.get(2)?.parse().ok()?, user.get(3)?.parse().ok()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("a user other than root"))
}

fn as_user(user: Option<&(String, u32, u32)>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if let Some((_, uid, gid)) = user {
        command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string(), "--clear-groups"]);
    }
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}
