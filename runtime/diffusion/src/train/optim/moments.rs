//! A running mean for each element of a variable, as f32 or as eight-bit blocks.

use super::dynamic_map::{BLOCK, DynamicMap};
use super::state::{Slot, SlotMut};

/// Variables with fewer elements keep f32: their state costs little and errs most.
pub(super) const LEAST_QUANTISED: usize = 4096;

#[derive(Debug, Clone)]
pub enum Moments {
    Plain(Vec<f32>),
    Quantised { map: &'static DynamicMap, codes: Vec<u8>, scales: Vec<f32> },
}

impl Moments {
    pub(super) fn plain(elements: usize) -> Self {
        Self::Plain(vec![0.0; elements])
    }

    pub(super) fn quantised(elements: usize, map: &'static DynamicMap) -> Self {
        if elements < LEAST_QUANTISED {
            return Self::plain(elements);
        }
        let codes = vec![map.zero(); elements];
        Self::Quantised { map, codes, scales: vec![0.0; elements.div_ceil(BLOCK)] }
    }

    /// Block number `block` of up to [`BLOCK`] values.
    pub(super) fn read(&self, block: usize, values: &mut [f32]) {
        let at = block * BLOCK;
        match self {
            Self::Plain(all) => values.copy_from_slice(&all[at..at + values.len()]),
            Self::Quantised { map, codes, scales } => {
                for (value, code) in values.iter_mut().zip(&codes[at..]) {
                    *value = map.number(*code) * scales[block];
                }
            }
        }
    }

    pub(super) fn write(&mut self, block: usize, values: &[f32]) {
        let at = block * BLOCK;
        match self {
            Self::Plain(all) => all[at..at + values.len()].copy_from_slice(values),
            Self::Quantised { map, codes, scales } => {
                scales[block] = map.encode(values, &mut codes[at..at + values.len()]);
            }
        }
    }

    pub(super) fn slots(&self, names: [&'static str; 2]) -> Vec<(&'static str, Slot<'_>)> {
        match self {
            Self::Plain(all) => vec![(names[0], Slot::F32(all))],
            Self::Quantised { codes, scales, .. } => {
                vec![(names[0], Slot::U8(codes)), (names[1], Slot::F32(scales))]
            }
        }
    }

    pub(super) fn slots_mut(&mut self, names: [&'static str; 2]) -> Vec<(&'static str, SlotMut<'_>)> {
        match self {
            Self::Plain(all) => vec![(names[0], SlotMut::F32(all))],
            Self::Quantised { codes, scales, .. } => {
                vec![(names[0], SlotMut::U8(codes)), (names[1], SlotMut::F32(scales))]
            }
        }
    }
}
