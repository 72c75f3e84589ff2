//! Servers and an engine for the tests.

mod engine;
mod facade;
mod files;
mod hub;
mod lessons;
mod origin;
mod poll;
mod ranged;
mod training;
mod worker;

pub use facade::FakeFacade;
pub use files::{demo_model, file_of, filled, lora, sha256_hex, tiny_checkpoint, with_header};
pub use hub::{COMMIT, Holdings, Hub, VERSION};
pub use lessons::{DEMO, check_config, lesson, lora as lora_method, picture, reds, trainer_config};
pub use origin::{Origin, Reply};
pub use poll::eventually;
pub use ranged::{Fault, RangedServer};
pub use training::TrainingServer;
pub use worker::{TestWorker, import_config};
