//! The manifest of a long Dataset: JSON lines, each an item as in `spec.items`. Whoever may write into the object
//! store has made it, so the rules that the API server holds items to are held here.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use easel_crds::dataset::DatasetItem;
use easel_store::jobs::Sha256;

use crate::catalog::{ItemView, item};

/// Pictures of one Dataset, at most.
pub const MAX_ITEMS: usize = 100_000;
/// Room for that many lines with names, hashes and captions of usual length; more would be memory that one tenant
/// takes from the others.
pub(super) const MAX_BYTES: usize = 64 << 20;
/// One line: name, key, hash and caption at their longest, escaped.
const MAX_LINE: usize = 32 << 10;
const MAX_PICTURE_BYTES: u64 = 1 << 30;
/// A trainer reads all pages of its Datasets one after the other; more manifests would be tens of megabytes each.
const KEPT: usize = 2;

/// What is wrong with a manifest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("line {line} is longer than {MAX_LINE} bytes")]
    TooLong { line: usize },
    #[error("line {line}: {problem}")]
    Invalid { line: usize, problem: String },
    #[error("it has more than {MAX_ITEMS} pictures")]
    TooMany,
}

/// The manifests that were read last, so that not every page reads one anew.
#[derive(Default)]
pub struct Manifests {
    /// The newest last.
    kept: Mutex<Vec<(String, Arc<Vec<ItemView>>)>>,
    turn: tokio::sync::Mutex<()>,
}

impl Manifests {
    /// Held while one is read: several at a time would be several times the memory.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    pub(super) fn get(&self, known: &str) -> Option<Arc<Vec<ItemView>>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(own, _)| own == known).map(|(_, items)| items.clone())
    }

    pub(super) fn keep(&self, known: String, items: Vec<ItemView>) -> Arc<Vec<ItemView>> {
        let items = Arc::new(items);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(own, _)| *own != known);
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((known, items.clone()));
        items
    }
}

/// # Errors
/// [`LineError`] with the first line that is wrong; empty lines do not count.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<ItemView>, LineError> {
    let (mut items, mut names) = (Vec::new(), HashSet::new());
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        if line.len() > MAX_LINE {
            return Err(LineError::TooLong { line: number });
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if items.len() == MAX_ITEMS {
            return Err(LineError::TooMany);
        }
        let read = serde_json::from_slice::<DatasetItem>(line);
        let found = read.map_err(|error| LineError::Invalid { line: number, problem: error.to_string() })?;
        if let Some(problem) = problem(&found) {
            return Err(LineError::Invalid { line: number, problem: problem.to_owned() });
        }
        if !names.insert(found.name.clone()) {
            let problem = format!("the name {:?} is there twice", found.name);
            return Err(LineError::Invalid { line: number, problem });
        }
        items.push(item(&found));
    }
    Ok(items)
}

/// The rules of `DatasetItem`.
fn problem(item: &DatasetItem) -> Option<&'static str> {
    let long =
        |text: &Option<String>, most: usize| text.as_ref().is_some_and(|text| text.chars().count() > most);
    if !is_file_name(&item.name) {
        return Some("name is no plain file name of 1 to 128 characters");
    }
    if item.key.as_deref().is_some_and(|key| key.is_empty() || key.contains("..") || key.starts_with('/'))
        || long(&item.key, 512)
    {
        return Some("key must be 1 to 512 characters long, not begin with '/' and not contain '..'");
    }
    if item.sha256.as_ref().is_some_and(|hash| hash.parse::<Sha256>().is_err()) {
        return Some("sha256 must be 64 lower-case hexadecimal digits");
    }
    if item.size_bytes.is_some_and(|size| size == 0 || size > MAX_PICTURE_BYTES) {
        return Some("sizeBytes must be 1 to 1073741824");
    }
    if long(&item.caption, 1024) {
        return Some("caption is longer than 1024 characters");
    }
    None
}

/// One path segment of at most 128 characters, as the rule of the kind has it.
pub fn is_file_name(name: &str) -> bool {
    (1..=128).contains(&name.chars().count())
        && !name.starts_with('.')
        && !name.chars().any(|c| matches!(c, '/' | '\\') || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_items() {
        let text =
            b"{\"name\":\"a.png\",\"caption\":\"a cat\"}\n\r\n{\"name\":\"b.png\",\"state\":\"Disabled\"}";
        let items = parse(text).expect("two pictures");
        assert_eq!((items[0].name.as_str(), items[0].caption.as_deref()), ("a.png", Some("a cat")));
        assert!(items[0].enabled && !items[1].enabled);
        assert_eq!(parse(b""), Ok(Vec::new()));
    }

    #[test]
    fn what_the_api_server_would_refuse_is_refused() {
        let long = format!("{{\"name\":\"a\",\"caption\":\"{}\"}}", "x".repeat(MAX_LINE));
        let caption = format!("{{\"name\":\"a\",\"caption\":\"{}\"}}", "x".repeat(1025));
        let cases = [
            ("{\"name\":\"../a.png\"}", "plain file name"),
            ("{\"name\":\".a\"}", "plain file name"),
            ("{\"name\":\"\"}", "plain file name"),
            ("{\"name\":\"a\\u0000\"}", "plain file name"),
            ("{\"name\":\"a\",\"key\":\"/etc\"}", "key must"),
            ("{\"name\":\"a\",\"key\":\"x/../y\"}", "key must"),
            ("{\"name\":\"a\",\"sha256\":\"ff\"}", "sha256"),
            ("{\"name\":\"a\",\"sizeBytes\":0}", "sizeBytes"),
            ("{\"name\":\"a\",\"sizeBytes\":1e30}", "line 1"),
            ("{\"name\":\"a\"}\n{\"name\":\"a\"}", "line 2: the name \"a\" is there twice"),
            ("not json", "line 1"),
            ("[[[[", "line 1"),
            (caption.as_str(), "caption is longer"),
            (long.as_str(), "longer than 32768 bytes"),
        ];
        for (text, want) in cases {
            let error = parse(text.as_bytes()).expect_err(want).to_string();
            assert!(error.contains(want), "{want}: {error}");
        }
        let many: String = (0..=MAX_ITEMS).map(|n| format!("{{\"name\":\"{n}\"}}\n")).collect();
        assert_eq!(parse(many.as_bytes()), Err(LineError::TooMany));
    }
}
