//! From a prompt to the tensors that the UNet reads.
//!
//! [`PromptPlan`] takes a prompt apart with the [`grammar`], [`TextEncoders`] encode what it is made of.

mod chunk_cache;
mod chunks;
mod clip;
mod embedding;
mod embedding_file;
mod embedding_set;
mod emphasis;
mod encoder;
mod error;
pub mod grammar;
mod options;
mod plan;
mod tokenizer;
mod weighting;

pub use chunks::{Chunk, Fix, chunk_prompt};
pub use clip::ClipText;
pub use embedding::{Embedding, MAX_VECTORS};
pub use embedding_file::EmbeddingFileError;
pub use embedding_set::EmbeddingSet;
pub use emphasis::{Fragment, MAX_DEPTH, parse_emphasis};
pub use encoder::{Conditioning, TextEncoders};
pub use error::{EmbeddingError, TextError};
pub use grammar::{ExtraNetwork, ExtraNetworkKind, Pass, ScheduleStep};
pub use options::{EmphasisMode, EncodeOptions, SdxlClipSkip, TextStyle};
pub use plan::{PlanOptions, PlanPart, PromptPlan, Role, ScheduledConditioning};
pub use tokenizer::Tokenizer;
