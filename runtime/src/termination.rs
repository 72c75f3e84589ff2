//! The termination message: what a process leaves behind for the operator, at a path that Kubernetes reads
//! after the container has ended.

use std::path::Path;

use easel_protocol::FailureReport;
use easel_protocol::dataset::CheckResult;
use easel_protocol::import::ImportResult;
use easel_protocol::training::TrainResult;

/// Kubernetes cuts a longer message in the middle of the JSON.
pub(crate) const LIMIT_BYTES: usize = 4096;

/// Writes the report of a process that failed.
///
/// # Errors
/// The file cannot be written. The exit status still tells whether the failure is permanent.
pub fn write_failure(path: &Path, report: &FailureReport) -> std::io::Result<()> {
    std::fs::write(path, fit(report, |report| serde_json::to_string(&report)))
}

/// Writes the result of an import; one that succeeded was fitted (`ImportedModel::fitted`).
///
/// # Errors
/// The file cannot be written.
pub fn write_import(path: &Path, result: &ImportResult) -> std::io::Result<()> {
    let text = match result {
        ImportResult::Failed(report) => {
            fit(report, |report| serde_json::to_string(&ImportResult::Failed(report)))
        }
        ImportResult::Succeeded(_) => serde_json::to_string(result)?,
    };
    std::fs::write(path, text)
}

/// Writes the result of a training.
///
/// # Errors
/// The file cannot be written.
pub fn write_training(path: &Path, result: &TrainResult) -> std::io::Result<()> {
    let text = match result {
        TrainResult::Failed(report) => {
            fit(report, |report| serde_json::to_string(&TrainResult::Failed(report)))
        }
        TrainResult::Succeeded(_) | TrainResult::Interrupted { .. } => serde_json::to_string(result)?,
    };
    std::fs::write(path, text)
}

/// Writes the result of a check.
///
/// # Errors
/// The file cannot be written.
pub fn write_check(path: &Path, result: &CheckResult) -> std::io::Result<()> {
    let text = match result {
        CheckResult::Failed(report) => {
            fit(report, |report| serde_json::to_string(&CheckResult::Failed(report)))
        }
        CheckResult::Checked(_) => serde_json::to_string(result)?,
    };
    std::fs::write(path, text)
}

/// Encodes `report`, with its message halved until the JSON fits: escapes can make six bytes of one.
fn fit(report: &FailureReport, encode: impl Fn(FailureReport) -> serde_json::Result<String>) -> String {
    let mut message = report.message.clone();
    loop {
        let report = FailureReport::new(&report.reason, message.clone(), report.retriable);
        match encode(report) {
            Ok(json) if json.len() <= LIMIT_BYTES => return json,
            _ if message.is_empty() => return String::new(),
            _ => message.truncate(message.floor_char_boundary(message.len() / 2)),
        }
    }
}

#[cfg(test)]
mod tests {
    use easel_protocol::import::ImportResult;

    use super::*;

    #[test]
    fn a_message_full_of_escapes_still_fits_and_parses() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let report = FailureReport::new("InvalidHeader", "\u{1}".repeat(2000), false);
        write_failure(path.path(), &report).unwrap();
        let text = std::fs::read_to_string(path.path()).unwrap();
        assert!(text.len() <= LIMIT_BYTES, "{} bytes", text.len());
        let back: FailureReport = serde_json::from_str(&text).unwrap();
        assert_eq!((back.reason.as_str(), back.retriable), ("InvalidHeader", false));
        assert!(back.message.starts_with('\u{1}'));

        write_import(path.path(), &ImportResult::Failed(report)).unwrap();
        let text = std::fs::read(path.path()).unwrap();
        assert!(matches!(serde_json::from_slice(&text).unwrap(), ImportResult::Failed(_)));

        let report = FailureReport::new("TrainingDiverged", "\u{1}".repeat(2000), false);
        write_training(path.path(), &TrainResult::Failed(report.clone())).unwrap();
        let text = std::fs::read(path.path()).unwrap();
        assert!(matches!(serde_json::from_slice(&text).unwrap(), TrainResult::Failed(_)));
        write_check(path.path(), &CheckResult::Failed(report)).unwrap();
        let text = std::fs::read(path.path()).unwrap();
        assert!(matches!(serde_json::from_slice(&text).unwrap(), CheckResult::Failed(_)));
    }
}
