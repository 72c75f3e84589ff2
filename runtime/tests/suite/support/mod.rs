//! Servers and an engine for the tests.

mod engine;
mod facade;
mod files;
mod hub;
mod origin;
mod poll;
mod worker;

pub use facade::FakeFacade;
pub use files::{lora, sha256_hex, tiny_checkpoint, with_header};
pub use hub::{COMMIT, Holdings, Hub, VERSION};
pub use origin::{Origin, Reply};
pub use poll::eventually;
pub use worker::{TestWorker, import_config};
