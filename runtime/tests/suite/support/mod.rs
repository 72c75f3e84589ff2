//! Servers and an engine for the tests.

mod engine;
mod facade;
mod files;
mod origin;
mod poll;
mod worker;

pub use engine::FakeEngine;
pub use facade::{Call, FakeFacade, Refuse};
pub use files::{lora, sha256_hex, tiny_checkpoint, with_header};
pub use origin::{Origin, Reply};
pub use poll::eventually;
pub use worker::{TestWorker, import_config, request};
