//! What a training Job leaves behind.

use easel_protocol::training::{TrainResult, TrainedFile};

use crate::jobs::JobResult;

impl JobResult for TrainedFile {
    const WORK: &'static str = "training";
    const FAILED: &'static str = "TrainingFailed";
    const MISSING: &'static str = "TrainingResultMissing";

    fn read(message: &str) -> Option<Self> {
        match serde_json::from_str(message) {
            Ok(TrainResult::Succeeded(trained)) => Some(trained),
            Ok(TrainResult::Interrupted { .. } | TrainResult::Failed(_)) | Err(_) => None,
        }
    }
}
