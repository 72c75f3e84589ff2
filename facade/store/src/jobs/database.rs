//! Opening the database: one set of statements for SQLite and PostgreSQL, over sqlx's `Any` driver.
//!
//! A statement here is one transaction. That is enough for every change of a job, since each is a single
//! `UPDATE ... WHERE <it is still so> RETURNING`; only the queue limit on PostgreSQL needs a lock besides.
//!
//! Durability. What a client was promised, that its job is accepted or cancelled, outlives a power failure: on
//! SQLite by a sync of the log that callers share (`log_sync`), on PostgreSQL by `synchronous_commit=on`.
//! Everything that workers say outlives the death of any process, but a power failure may forget the last of it
//! (`synchronous=NORMAL`, `synchronous_commit=off`). The job is then queued or running as before, and is rendered
//! again with the same seed; a worker's next word is refused because worker and attempt both have to match. So
//! handing a job out and taking it back waits for no disk.
//!
//! SQLite writes one at a time, in the order of a fair lock; its own wait for the file lock is neither fair
//! nor quick, and is left to the rare second process.

use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyArguments, AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::query::Query;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Any, AnyPool, ConnectOptions, Connection as _};
use tokio::sync::Mutex;

use super::StoreError;
use super::changes::{Bells, Changes};
use super::log_sync::{LogSync, sync_directory_of};

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// PostgreSQL: connections for changes, twice over (see Durability), and for reads. SQLite: for reads.
    pub connections: u32,
    /// Longest wait for a connection, or for another process that holds the SQLite file.
    pub busy_timeout: Duration,
    /// A job that has waited this long goes first, whatever models the worker holds.
    pub fairness: Duration,
    /// Wait after the first retriable failure of a job; four times as long after each further one.
    pub retry_delay: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            connections: 8,
            busy_timeout: Duration::from_secs(5),
            fairness: Duration::from_secs(30),
            retry_delay: Duration::from_secs(2),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// What a power failure may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Durability {
    /// Nothing that was answered.
    Kept,
    /// The last words of workers.
    Relaxed,
}

/// The job store. Clones share the connections.
#[derive(Clone, Debug)]
pub struct JobStore {
    pub(super) dialect: Dialect,
    pub(super) options: OpenOptions,
    pub(super) bells: Bells,
    reads: AnyPool,
    /// SQLite: the same as `relaxed`, which is then synced.
    kept: AnyPool,
    relaxed: AnyPool,
    writer: Arc<Mutex<()>>,
    log: Option<LogSync>,
}

impl JobStore {
    /// Opens the database, makes an SQLite file that is not there, and brings the tables up to date.
    ///
    /// `url`: `sqlite:///data/jobs.db` or `postgres://user:password@host/database`.
    ///
    /// # Errors
    /// [`StoreError::Open`] is worth trying again; the others are not.
    pub async fn open(url: &str, options: &OpenOptions) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let dialect = dialect_of(url)?;
        let connect = connect_options(url, dialect)?;
        let (sqlite, many) = (dialect == Dialect::Sqlite, options.connections.max(1));
        let changes = if sqlite { 1 } else { many };
        migrate(&connect, dialect, options).await?;
        let pool = |connections, durability| pool(&connect, dialect, options, connections, durability);
        let (log, kept, relaxed) = match dialect {
            Dialect::Sqlite => {
                let log = log_of(url).await.map_err(|source| StoreError::Open { source })?;
                let changes = pool(changes, "PRAGMA synchronous = NORMAL");
                (Some(log), changes.clone(), changes)
            }
            Dialect::Postgres => {
                let (on, off) = ("SET synchronous_commit = on", "SET synchronous_commit = off");
                (None, pool(changes, on), pool(changes, off))
            }
        };
        let store = Self {
            dialect,
            options: options.clone(),
            bells: Bells::default(),
            reads: pool(many, "SELECT 1"),
            kept,
            relaxed,
            writer: Arc::default(),
            log,
        };
        store.ping().await?;
        Ok(store)
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read(sqlx::query("SELECT 1")).await.map_err(StoreError::query("answer")).map(drop)
    }

    /// Ends the connections, waiting for what is under way.
    pub async fn close(&self) {
        tokio::join!(self.reads.close(), self.kept.close(), self.relaxed.close());
    }

    /// Changes of the endpoint's jobs from now on.
    pub fn changes(&self, namespace: &str, endpoint: &str) -> Changes {
        self.bells.listen(namespace, endpoint)
    }

    /// Runs a query that changes nothing.
    pub(super) async fn read(&self, query: Query<'_, Any, AnyArguments>) -> Result<Vec<AnyRow>, sqlx::Error> {
        query.fetch_all(&self.reads).await
    }

    /// Runs one statement that changes something, to its end: a statement whose rows are not all read is
    /// not sure to be committed.
    pub(super) async fn write(
        &self,
        durability: Durability,
        query: Query<'_, Any, AnyArguments>,
    ) -> Result<Vec<AnyRow>, sqlx::Error> {
        let pool = match durability {
            Durability::Kept => &self.kept,
            Durability::Relaxed => &self.relaxed,
        };
        let rows = match self.dialect {
            Dialect::Sqlite => {
                let _turn = self.writer.lock().await;
                query.fetch_all(pool).await?
            }
            Dialect::Postgres => query.fetch_all(pool).await?,
        };
        if let (Durability::Kept, false) = (durability, rows.is_empty()) {
            self.settle().await?;
        }
        Ok(rows)
    }

    /// Returns when everything that was written before outlives a power failure. On PostgreSQL it does already.
    pub(super) async fn settle(&self) -> Result<(), sqlx::Error> {
        match &self.log {
            Some(log) => log.wait().await.map_err(sqlx::Error::Io),
            None => Ok(()),
        }
    }

    /// Runs one statement under a PostgreSQL advisory lock that is held until it is committed.
    pub(super) async fn write_locked(
        &self,
        lock: i64,
        query: Query<'_, Any, AnyArguments>,
    ) -> Result<Vec<AnyRow>, sqlx::Error> {
        let mut transaction = self.kept.begin().await?;
        // The cast gives the `Any` driver a type that it knows.
        let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)::text").bind(lock);
        lock.fetch_all(&mut *transaction).await?;
        let rows = query.fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }
}

fn dialect_of(url: &str) -> Result<Dialect, StoreError> {
    match url.split_once(':') {
        Some(("sqlite", _)) => Ok(Dialect::Sqlite),
        Some(("postgres" | "postgresql", _)) => Ok(Dialect::Postgres),
        _ => Err(StoreError::Url),
    }
}

/// The log of an SQLite database that is there already.
async fn log_of(url: &str) -> Result<LogSync, sqlx::Error> {
    let options: SqliteConnectOptions = url.parse()?;
    sync_directory_of(options.get_filename()).await?;
    Ok(LogSync::new(options.get_filename()))
}

fn connect_options(url: &str, dialect: Dialect) -> Result<AnyConnectOptions, StoreError> {
    let url = match dialect {
        Dialect::Sqlite if !url.contains('?') => format!("{url}?mode=rwc"),
        Dialect::Sqlite | Dialect::Postgres => url.to_owned(),
    };
    let options: AnyConnectOptions = url.parse().map_err(|_| StoreError::Url)?;
    // Statements carry prompts.
    Ok(options.disable_statement_logging())
}

/// Statements that every connection starts with.
fn settings(dialect: Dialect, options: &OpenOptions) -> Vec<String> {
    match dialect {
        Dialect::Sqlite => vec![
            format!("PRAGMA busy_timeout = {}", options.busy_timeout.as_millis()),
            "PRAGMA journal_mode = WAL".to_owned(),
            // A long read lets the log grow; this cuts it back to 64 MiB afterwards.
            "PRAGMA journal_size_limit = 67108864".to_owned(),
        ],
        Dialect::Postgres => {
            vec![format!("SET statement_timeout = {}", 6 * options.busy_timeout.as_millis())]
        }
    }
}

fn pool(
    connect: &AnyConnectOptions,
    dialect: Dialect,
    options: &OpenOptions,
    connections: u32,
    durability: &'static str,
) -> AnyPool {
    let mut settings = settings(dialect, options);
    settings.push(durability.to_owned());
    let settings: Arc<[String]> = settings.into();
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(options.busy_timeout)
        // SQLite has no server that may go away; a round trip before each statement would halve the speed.
        .test_before_acquire(dialect == Dialect::Postgres)
        .after_connect(move |connection, _| {
            let settings = Arc::clone(&settings);
            Box::pin(async move {
                for setting in settings.iter() {
                    // Made of the literals and numbers above.
                    sqlx::raw_sql(sqlx::AssertSqlSafe(setting.as_str())).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(connect.clone())
}

async fn migrate(
    connect: &AnyConnectOptions,
    dialect: Dialect,
    options: &OpenOptions,
) -> Result<(), StoreError> {
    let open = |source| StoreError::Open { source };
    let mut connection = connect.connect().await.map_err(open)?;
    for setting in settings(dialect, options) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(setting)).execute(&mut connection).await.map_err(open)?;
    }
    let done = sqlx::migrate!().run(&mut connection).await;
    done.map_err(|source| StoreError::Migrate { source })?;
    connection.close().await.map_err(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_chooses_the_database() {
        let cases = [
            ("sqlite:///data/jobs.db", Some(Dialect::Sqlite)),
            ("postgres://u@h/d", Some(Dialect::Postgres)),
            ("postgresql://u@h/d", Some(Dialect::Postgres)),
            ("mysql://u@h/d", None),
            ("/data/jobs.db", None),
            ("", None),
        ];
        for (url, want) in cases {
            assert_eq!(dialect_of(url).ok(), want, "{url}");
        }
    }
}
