//! Why a model or a network is not in memory.

use easel_protocol::FailureReport;

use crate::cache::CacheError;

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("model {model}: {file} cannot be fetched")]
    Fetch { model: String, file: String, source: CacheError },
    #[error("model {model}: {file} cannot be loaded: {}", .report.message)]
    Load { model: String, file: String, report: FailureReport },
}

impl PoolError {
    /// The failure for a status: the engine's own reason for bad weights.
    pub fn report(&self) -> FailureReport {
        let message = crate::error::chain(self);
        match self {
            Self::Fetch { source, .. } => FailureReport::new(source.reason(), message, source.retriable()),
            Self::Load { report, .. } => FailureReport::new(&report.reason, message, report.retriable),
        }
    }
}
