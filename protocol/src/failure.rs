//! A failure as one process tells it to another: in a termination message, in a `fail` call, in a status.

use serde::{Deserialize, Serialize};

/// Longest message that is kept. Kubernetes cuts a termination message at 4096 bytes, JSON included.
pub const MAX_MESSAGE_BYTES: usize = 2048;

/// Exit status of a runtime process whose failure will come again with the same spec (sysexits' EX_DATAERR).
pub const EXIT_PERMANENT: i32 = 65;
/// Exit status of a runtime process whose failure may pass (sysexits' EX_TEMPFAIL).
pub const EXIT_RETRIABLE: i32 = 75;
/// Exit status of a runtime process that was told to end and did what it could: 128 + SIGTERM, as for one that SIGTERM
/// killed. It is no failure, and costs a Job no retry.
pub const EXIT_TERMINATED: i32 = 143;

/// Why something failed, for a person and for a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureReport {
    /// Stable CamelCase word; API.
    pub reason: String,
    /// A sentence that names the object, the value, the limit and the remedy.
    pub message: String,
    /// Does trying again with the same input make sense?
    pub retriable: bool,
}

impl FailureReport {
    /// A report whose message is cut, at a character boundary, to [`MAX_MESSAGE_BYTES`].
    pub fn new(reason: &str, message: impl Into<String>, retriable: bool) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE_BYTES {
            let end = (0..=MAX_MESSAGE_BYTES - 3).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
            message.truncate(end);
            message.push('…');
        }
        Self { reason: reason.to_owned(), message, retriable }
    }

    /// The exit status a process ends with after this failure.
    pub fn exit_code(&self) -> i32 {
        if self.retriable { EXIT_RETRIABLE } else { EXIT_PERMANENT }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        let report = FailureReport::new("Long", "é".repeat(5000), true);
        assert!(report.message.len() <= MAX_MESSAGE_BYTES && report.message.ends_with("é…"));
        assert_eq!(FailureReport::new("Short", "as is", true).message, "as is");
    }
}
