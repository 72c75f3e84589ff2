//! Evaluations of the UNet: grouped, and shared between jobs that run at the same time.
//!
//! A row of a pass does not feel the others (`ops` keeps that), so who shares a pass with whom depends on
//! chance and no picture does.

mod batcher;
mod forward;
mod row;
mod seat;

pub use batcher::{Batcher, BatcherStats};
pub(super) use row::Row;
pub(super) use seat::{Evaluator, ROWS_ALONE};
