//! Which files of the cache go first. No I/O.

use std::time::SystemTime;

/// A file in the cache directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) sha256: String,
    /// Bytes on the disk.
    pub(super) size: u64,
    pub(super) last_used: SystemTime,
    /// Whole, or left by a transfer that ended in the middle.
    pub(super) whole: bool,
}

/// Bytes of all.
pub(super) fn total(entries: &[Entry]) -> u64 {
    entries.iter().map(|entry| entry.size).fold(0, u64::saturating_add)
}

/// In which order files give way: first what transfers left behind, then the least recently used.
pub(super) fn oldest_first(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| (a.whole, a.last_used, &a.sha256).cmp(&(b.whole, b.last_used, &b.sha256)));
    entries
}

/// How many bytes have to go, so that `need` more stay within the limit and fit the disk.
pub(super) fn excess(total: u64, need: u64, limit: Option<u64>, free: u64) -> u64 {
    let over_limit = limit.map_or(0, |limit| total.saturating_add(need).saturating_sub(limit));
    over_limit.max(need.saturating_sub(free))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entry(sha256: &str, used: u64, whole: bool) -> Entry {
        let last_used = SystemTime::UNIX_EPOCH + Duration::from_secs(used);
        Entry { sha256: sha256.to_owned(), size: 4, last_used, whole }
    }

    #[test]
    fn leavings_go_first_and_then_the_least_recently_used() {
        let entries = [entry("a", 3, true), entry("b", 1, true), entry("c", 9, false), entry("d", 2, true)];
        let order = oldest_first(entries.to_vec());
        let names: Vec<_> = order.iter().map(|entry| entry.sha256.as_str()).collect();
        assert_eq!(names, ["c", "b", "d", "a"]);
        assert_eq!(total(&order), 16);
    }

    #[test]
    fn both_the_limit_and_the_disk_bound_what_stays() {
        for (total, need, limit, free, want) in [
            (8, 4, Some(12), 100, 0),
            (8, 5, Some(12), 100, 1),
            (8, 5, None, 100, 0),
            (8, 5, None, 3, 2),
            (8, 5, Some(12), 3, 2),
            (u64::MAX, 5, Some(12), 0, u64::MAX - 12),
        ] {
            assert_eq!(excess(total, need, limit, free), want, "{total} {need} {limit:?} {free}");
        }
    }
}
