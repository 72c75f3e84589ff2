//! What an optimiser remembers of one variable, and its parts by name for checkpoints.

use super::moments::Moments;

/// The memory of one variable.
#[derive(Debug, Clone)]
pub enum State {
    Adam {
        mean: Moments,
        square: Moments,
    },
    /// Means of squared gradients over rows and over columns.
    Factored {
        rows: Vec<f32>,
        columns: Vec<f32>,
    },
    Square {
        square: Vec<f32>,
    },
    Momentum {
        buffer: Vec<f32>,
    },
    Nothing,
}

/// A part of a state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Slot<'a> {
    F32(&'a [f32]),
    U8(&'a [u8]),
}

/// A part of a state that a checkpoint is read into.
#[derive(Debug)]
pub enum SlotMut<'a> {
    F32(&'a mut [f32]),
    U8(&'a mut [u8]),
}

const MEAN: [&str; 2] = ["mean", "mean_scales"];
const SQUARE: [&str; 2] = ["square", "square_scales"];

impl State {
    /// The parts with their names, in an order that never changes.
    pub fn slots(&self) -> Vec<(&'static str, Slot<'_>)> {
        match self {
            Self::Adam { mean, square } => {
                let mut slots = mean.slots(MEAN);
                slots.extend(square.slots(SQUARE));
                slots
            }
            Self::Factored { rows, columns } => {
                vec![("rows", Slot::F32(rows)), ("columns", Slot::F32(columns))]
            }
            Self::Square { square } => vec![(SQUARE[0], Slot::F32(square))],
            Self::Momentum { buffer } => vec![("momentum", Slot::F32(buffer))],
            Self::Nothing => Vec::new(),
        }
    }

    /// The same parts, to be written.
    pub fn slots_mut(&mut self) -> Vec<(&'static str, SlotMut<'_>)> {
        match self {
            Self::Adam { mean, square } => {
                let mut slots = mean.slots_mut(MEAN);
                slots.extend(square.slots_mut(SQUARE));
                slots
            }
            Self::Factored { rows, columns } => {
                vec![("rows", SlotMut::F32(rows)), ("columns", SlotMut::F32(columns))]
            }
            Self::Square { square } => vec![(SQUARE[0], SlotMut::F32(square))],
            Self::Momentum { buffer } => vec![("momentum", SlotMut::F32(buffer))],
            Self::Nothing => Vec::new(),
        }
    }
}
