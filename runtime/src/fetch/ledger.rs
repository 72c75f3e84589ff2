//! The record beside a file under way: which version of which file it is, and which of its parts are whole.
//!
//! The first line is JSON; each further line is the number of a part that was synced before the line was written.
//! A kill in the middle leaves at worst a last line without its end, which does not count. A record that does not
//! fit its file, its caller's wish or this program is no record, and the transfer starts anew.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use http::HeaderValue;
use serde::{Deserialize, Serialize};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::transfer::FetchPolicy;

/// Raised when the lines mean something else.
const FORMAT: u32 = 1;
/// A terabyte in parts of a megabyte.
const MAX_PARTS: u64 = 1 << 20;
/// [`MAX_PARTS`] lines, and the first one.
const MAX_BYTES: u64 = 16 << 20;

/// Which bytes a file under way is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    format: u32,
    /// What its owner calls it; another name is another file.
    identity: String,
    pub(super) size: u64,
    pub(super) part_bytes: u64,
    validator: Option<String>,
}

impl Version {
    /// `None` when such a file cannot be taken in parts.
    pub(super) fn new(
        identity: &str,
        size: u64,
        part_bytes: u64,
        validator: Option<&HeaderValue>,
    ) -> Option<Self> {
        let validator = match validator {
            Some(value) => Some(value.to_str().ok()?.to_owned()),
            None => None,
        };
        let version = Self { format: FORMAT, identity: identity.to_owned(), size, part_bytes, validator };
        version.countable().then_some(version)
    }

    fn countable(&self) -> bool {
        self.part_bytes > 0 && self.size > 0 && self.size.div_ceil(self.part_bytes) <= MAX_PARTS
    }

    pub(super) fn parts(&self) -> usize {
        usize::try_from(self.size.div_ceil(self.part_bytes)).expect("at most MAX_PARTS")
    }

    /// First byte of a part, and the first one after it.
    pub(super) fn bounds(&self, part: usize) -> (u64, u64) {
        let begin = (part as u64).saturating_mul(self.part_bytes).min(self.size);
        (begin, begin.saturating_add(self.part_bytes).min(self.size))
    }

    pub(super) fn validator(&self) -> Option<HeaderValue> {
        self.validator.as_deref().and_then(|text| HeaderValue::from_str(text).ok())
    }

    /// Is it what the caller asks for now?
    fn continues(&self, identity: &str, policy: &FetchPolicy) -> bool {
        self.format == FORMAT
            && self.identity == identity
            && self.countable()
            && self.size <= policy.max_bytes
            && policy.expected_bytes.is_none_or(|expected| expected == self.size)
            && (policy.hash_known || self.validator().is_some())
    }
}

/// An open record.
pub(super) struct Ledger {
    file: File,
    pub(super) version: Version,
    /// By part: was it whole when the record was opened?
    pub(super) whole: Vec<bool>,
}

/// Where the record of `path` is.
pub(super) fn path_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".ranges");
    name.into()
}

impl Ledger {
    /// Begins a record; the file at `path` gets its size, and nothing of what it held counts.
    pub(super) async fn create(path: &Path, version: Version) -> io::Result<Self> {
        forget(path).await?;
        let data = OpenOptions::new().write(true).create(true).truncate(true).open(path).await?;
        data.set_len(version.size).await?;
        data.sync_all().await?;
        let mut file = File::create(path_of(path)).await?;
        let mut line = serde_json::to_vec(&version)?;
        line.push(b'\n');
        file.write_all(&line).await?;
        file.flush().await?;
        file.sync_data().await?;
        let whole = vec![false; version.parts()];
        Ok(Self { file, version, whole })
    }

    /// The record of an earlier process, if it is one that this transfer may continue.
    pub(super) async fn resume(
        path: &Path,
        identity: &str,
        policy: &FetchPolicy,
    ) -> io::Result<Option<Self>> {
        let opened = OpenOptions::new().read(true).write(true).open(path_of(path)).await;
        let mut file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut text = Vec::new();
        (&mut file).take(MAX_BYTES).read_to_end(&mut text).await?;
        let Some((version, whole, end)) = parse(&text) else { return Ok(None) };
        let fits = match tokio::fs::metadata(path).await {
            Ok(data) => data.len() == version.size,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if !fits || !version.continues(identity, policy) {
            return Ok(None);
        }
        // What a kill left of a line must not become the beginning of the next one.
        file.set_len(end).await?;
        file.seek(SeekFrom::Start(end)).await?;
        Ok(Some(Self { file, version, whole }))
    }

    /// Records a part whose bytes are synced.
    pub(super) async fn record(&mut self, part: usize) -> io::Result<()> {
        self.file.write_all(format!("{part}\n").as_bytes()).await?;
        self.file.flush().await?;
        self.file.sync_data().await
    }
}

/// Removes the record, so that the file under way counts for nothing, also after a crash.
pub(super) async fn forget(path: &Path) -> io::Result<()> {
    match tokio::fs::remove_file(path_of(path)).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => File::open(parent).await?.sync_all().await,
            _ => Ok(()),
        },
    }
}

/// The version, which parts are whole, and where the last whole line ends.
fn parse(text: &[u8]) -> Option<(Version, Vec<bool>, u64)> {
    let end = text.iter().rposition(|byte| *byte == b'\n')? + 1;
    let mut lines = text[..end].split(|byte| *byte == b'\n');
    let version: Version = serde_json::from_slice(lines.next()?).ok()?;
    if !version.countable() {
        return None;
    }
    let mut whole = vec![false; version.parts()];
    for line in lines.filter(|line| !line.is_empty()) {
        let part: usize = std::str::from_utf8(line).ok()?.parse().ok()?;
        *whole.get_mut(part)? = true;
    }
    Some((version, whole, end as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> Version {
        let etag = HeaderValue::from_static("\"v1\"");
        Version::new("m", 100, 30, Some(&etag)).unwrap()
    }

    #[tokio::test]
    async fn parts_are_known_again_and_a_torn_line_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.part");
        let mut ledger = Ledger::create(&path, version()).await.unwrap();
        ledger.record(3).await.unwrap();
        ledger.record(1).await.unwrap();
        drop(ledger);
        let torn = [std::fs::read(path_of(&path)).unwrap(), b"2".to_vec()].concat();
        std::fs::write(path_of(&path), torn).unwrap();
        let policy = FetchPolicy::new(100);
        let mut ledger = Ledger::resume(&path, "m", &policy).await.unwrap().unwrap();
        assert_eq!(ledger.whole, [false, true, false, true]);
        assert_eq!(ledger.version.bounds(3), (90, 100));
        ledger.record(0).await.unwrap();
        let again = Ledger::resume(&path, "m", &policy).await.unwrap().unwrap();
        assert_eq!(again.whole, [true, true, false, true]);
        forget(&path).await.unwrap();
        assert!(Ledger::resume(&path, "m", &policy).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_not_the_same_file_is_not_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.part");
        Ledger::create(&path, version()).await.unwrap();
        let policy = FetchPolicy::new(100);
        let resumes = async |identity: &str, policy: &FetchPolicy| {
            Ledger::resume(&path, identity, policy).await.unwrap().is_some()
        };
        assert!(resumes("m", &policy).await);
        assert!(!resumes("other", &policy).await);
        assert!(!resumes("m", &FetchPolicy::new(99)).await, "above the limit");
        assert!(!resumes("m", &FetchPolicy { expected_bytes: Some(99), ..policy.clone() }).await);
        std::fs::write(&path, [0; 99]).unwrap();
        assert!(!resumes("m", &policy).await, "the data is not as long as the record says");
        let nameless = Version::new("m", 100, 30, None).unwrap();
        Ledger::create(&path, nameless).await.unwrap();
        assert!(!resumes("m", &policy).await, "nothing tells the versions apart");
        assert!(resumes("m", &FetchPolicy { hash_known: true, ..policy }).await);
    }

    #[test]
    fn hostile_records_are_none() {
        let line = serde_json::to_string(&version()).unwrap();
        for text in [
            String::new(),
            line.clone(),
            format!("{line}\n4\n"),
            format!("{line}\n-1\n"),
            format!("{line}\nx\n"),
            line.replace("\"part_bytes\":30", "\"part_bytes\":0") + "\n",
            line.replace("\"size\":100", "\"size\":18446744073709551615") + "\n",
            "{}\n".to_owned(),
        ] {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(parse(format!("{line}\n3\n").as_bytes()).is_some());
    }
}
