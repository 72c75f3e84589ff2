//! The facade as a worker sees it: the calls of `easel_protocol`'s modules `worker`, `import`, `training`
//! and `dataset`.

mod args;
mod client;
mod error;
mod token;
mod training;

pub use args::FacadeArgs;
pub use client::Facade;
pub use error::CallError;
pub use token::TokenFile;
