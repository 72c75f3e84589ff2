//! What an import Job leaves behind.

use easel_protocol::import::{ImportResult, ImportedModel};

use crate::jobs::JobResult;

impl JobResult for ImportedModel {
    const WORK: &'static str = "import";
    const FAILED: &'static str = "ImportFailed";
    const MISSING: &'static str = "ImportResultMissing";

    /// An import of no file is none.
    fn read(message: &str) -> Option<Self> {
        match serde_json::from_str(message) {
            Ok(ImportResult::Succeeded(imported)) if !imported.files.is_empty() => Some(imported),
            Ok(ImportResult::Succeeded(_) | ImportResult::Failed(_)) | Err(_) => None,
        }
    }
}
