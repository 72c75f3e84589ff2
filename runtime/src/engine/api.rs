//! What the worker needs of an engine. Everything here blocks and belongs on a thread of its own.

use std::any::Any;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use easel_diffusion::Picture;
use easel_protocol::{FailureReport, GenerationRequest, NetworkKind};

/// Makes models of files.
pub trait Engine: Send + Sync {
    /// Reads the weights in `path`.
    ///
    /// # Errors
    /// Permanent when the file itself is at fault.
    fn load(&self, path: &Path, label: &ModelLabel) -> Result<Arc<dyn LoadedModel>, EngineError>;

    /// Reads the network in `path`, for any of this engine's models.
    ///
    /// # Errors
    /// Permanent when the file itself is at fault.
    fn load_network(
        &self,
        path: &Path,
        kind: NetworkKind,
        label: &ModelLabel,
    ) -> Result<Arc<dyn LoadedNetwork>, EngineError>;
}

/// A network in memory, as the engine that made it knows it.
pub trait LoadedNetwork: Any + Send + Sync {
    /// Memory that it takes, from above.
    fn bytes(&self) -> u64;
}

/// A network as a request calls it.
#[derive(Clone)]
pub struct NamedNetwork {
    pub kind: NetworkKind,
    /// As the prompt writes it.
    pub name: String,
    pub network: Arc<dyn LoadedNetwork>,
}

/// Weights in memory.
pub trait LoadedModel: Send + Sync {
    /// What the weights take.
    fn weight_bytes(&self) -> u64;

    /// What is kept besides, for requests that come with the same networks again.
    fn kept_bytes(&self) -> u64;

    /// Gives up of that what is used least, until it takes `most` bytes or less.
    fn shrink(&self, most: u64);

    /// Renders all pictures of `request`, whose prompts may name `networks`. `on_progress` is called at least once per step; when it breaks, the
    /// engine stops within that step and returns [`EngineError::Stopped`].
    ///
    /// # Errors
    /// See [`EngineError`].
    fn generate(
        &self,
        request: &GenerationRequest,
        networks: &[NamedNetwork],
        on_progress: &mut OnProgress<'_>,
    ) -> Result<Vec<Picture>, EngineError>;
}

/// Told after each step; may stop the work.
pub type OnProgress<'a> = dyn FnMut(StepProgress) -> ControlFlow<()> + 'a;

/// How far a request is, over all of its batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepProgress {
    /// `Encoding`, `Denoising`, `Decoding`.
    pub stage: &'static str,
    pub step: u32,
    pub total: u32,
}

/// What a picture's infotext says about its model.
#[derive(Debug, Clone, Default)]
pub struct ModelLabel {
    /// As its owner calls the file.
    pub file_name: String,
    /// 64 hex digits, if known.
    pub sha256: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// `on_progress` said so.
    #[error("stopped")]
    Stopped,
    #[error("{}", .0.message)]
    Failed(FailureReport),
}

impl EngineError {
    /// A failure with the engine's own words.
    pub fn failed(reason: &str, message: impl Into<String>, retriable: bool) -> Self {
        Self::Failed(FailureReport::new(reason, message, retriable))
    }
}
