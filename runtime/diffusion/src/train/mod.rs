//! Training: pictures in, adapters and models out.

pub mod data;
pub mod optim;
pub mod run;
