//! Who computes a job's evaluations.

use std::sync::Arc;

use candle_core::{Result, Tensor};

use crate::pipeline::networks::Networks;

use super::batcher::Batcher;
use super::forward::forward;
use super::row::Row;

/// Rows of one pass of a job by itself: sixteen pictures with guidance.
pub(in crate::pipeline) const ROWS_ALONE: usize = 32;

/// The job's own thread, or the batcher at which it has a seat while this lives.
#[derive(Debug)]
pub(in crate::pipeline) struct Evaluator<'a> {
    seat: Option<(&'a Batcher, u64)>,
}

impl<'a> Evaluator<'a> {
    pub(in crate::pipeline) fn new(batcher: Option<&'a Batcher>) -> Self {
        Self { seat: batcher.map(|b| (b, b.sit_down())) }
    }

    /// Predictions of all rows, in their order.
    pub(in crate::pipeline) fn evaluate(
        &self,
        networks: &Arc<Networks>,
        rows: Vec<Row>,
    ) -> Result<Vec<Tensor>> {
        match self.seat {
            Some((batcher, seat)) => batcher.evaluate(seat, networks, rows),
            None => forward(&networks.unet, &rows, ROWS_ALONE),
        }
    }
}

impl Drop for Evaluator<'_> {
    fn drop(&mut self) {
        if let Some((batcher, seat)) = self.seat {
            batcher.stand_up(seat);
        }
    }
}
