//! What a check leaves behind.

use easel_protocol::dataset::{CheckResult, CheckedDataset};

use crate::jobs::JobResult;

impl JobResult for CheckedDataset {
    const WORK: &'static str = "check";
    const FAILED: &'static str = "CheckFailed";
    const MISSING: &'static str = "CheckResultMissing";

    fn read(message: &str) -> Option<Self> {
        match serde_json::from_str(message) {
            Ok(CheckResult::Checked(checked)) => Some(checked),
            Ok(CheckResult::Failed(_)) | Err(_) => None,
        }
    }
}
