//! From a prompt to the tensor that the UNet reads.

mod chunks;
mod clip;
mod emphasis;
mod encoder;
mod tokenizer;

pub use chunks::{Chunk, chunk_prompt};
pub use clip::ClipText;
pub use emphasis::{Fragment, parse_emphasis};
pub use encoder::{Conditioning, TextEncoder};
pub use tokenizer::Tokenizer;
