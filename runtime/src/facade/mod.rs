//! The facade as a worker sees it: the calls of `easel_protocol::worker` and `easel_protocol::import`.

mod client;
mod error;
mod token;

pub use client::Facade;
pub use error::CallError;
pub use token::TokenFile;
