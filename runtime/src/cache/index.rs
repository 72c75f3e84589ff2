//! Which files are in the cache, which of them are in use, and which goes first. No I/O.

use std::collections::HashMap;

/// Files by sha256.
#[derive(Debug, Default)]
pub(super) struct Index {
    files: HashMap<String, Entry>,
    /// Counts uses; the smallest is the longest ago.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    size: u64,
    last_used: u64,
    pins: usize,
}

impl Index {
    pub(super) fn total(&self) -> u64 {
        self.files.values().map(|entry| entry.size).sum()
    }

    /// Bytes of files that may not be removed.
    pub(super) fn pinned(&self) -> u64 {
        self.files.values().filter(|entry| entry.pins > 0).map(|entry| entry.size).sum()
    }

    pub(super) fn add(&mut self, sha256: &str, size: u64) {
        self.clock += 1;
        let entry = Entry { size, last_used: self.clock, pins: 0 };
        self.files.insert(sha256.to_owned(), entry);
    }

    /// Marks a file as in use, if it is here.
    pub(super) fn pin(&mut self, sha256: &str) -> bool {
        self.clock += 1;
        let Some(entry) = self.files.get_mut(sha256) else { return false };
        entry.pins += 1;
        entry.last_used = self.clock;
        true
    }

    pub(super) fn unpin(&mut self, sha256: &str) {
        if let Some(entry) = self.files.get_mut(sha256) {
            entry.pins = entry.pins.saturating_sub(1);
        }
    }

    /// The files to remove, least recently used first, so that `need` more bytes stay within `limit`. `None` when
    /// even all that are not in use do not suffice; nothing is taken out of the index then.
    pub(super) fn evict(&mut self, need: u64, limit: u64) -> Option<Vec<String>> {
        let mut excess = self.total().saturating_add(need).saturating_sub(limit);
        let mut idle: Vec<_> = self.files.iter().filter(|(_, entry)| entry.pins == 0).collect();
        idle.sort_by_key(|(_, entry)| entry.last_used);
        let mut victims = Vec::new();
        for (sha256, entry) in idle {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(entry.size);
            victims.push(sha256.clone());
        }
        if excess > 0 {
            return None;
        }
        self.files.retain(|sha256, _| !victims.contains(sha256));
        Some(victims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(files: &[(&str, u64)]) -> Index {
        let mut index = Index::default();
        files.iter().for_each(|(name, size)| index.add(name, *size));
        index
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut index = index(&[("a", 4), ("b", 4), ("c", 4)]);
        assert!(index.pin("a"));
        index.unpin("a");
        assert_eq!(index.evict(1, 12), Some(vec!["b".to_owned()]));
        assert_eq!(index.evict(4, 12), Some(vec![]));
        assert_eq!(index.evict(12, 12), Some(vec!["c".to_owned(), "a".to_owned()]));
        assert_eq!(index.total(), 0);
    }

    #[test]
    fn what_is_in_use_is_never_removed() {
        let mut index = index(&[("a", 4), ("b", 4)]);
        assert!(index.pin("a") && index.pin("a"));
        index.unpin("a");
        assert_eq!(index.evict(9, 12), None, "only 8 of 12 can be made free");
        assert_eq!((index.total(), index.pinned()), (8, 4), "a refusal removes nothing");
        assert_eq!(index.evict(8, 12), Some(vec!["b".to_owned()]));
        index.unpin("a");
        assert_eq!(index.evict(12, 12), Some(vec!["a".to_owned()]));
        assert!(!index.pin("a"));
    }
}
