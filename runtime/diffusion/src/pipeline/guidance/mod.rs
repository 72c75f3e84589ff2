//! From what the UNet predicts to what samplers ask for.

mod blend;
mod combine;
mod micro;
mod prediction;
mod rescale;
mod sight;
mod world;

pub(super) use blend::Blend;
pub(super) use combine::Guidance;
pub(super) use micro::Micro;
pub(super) use sight::{Extra, Sight};
pub(super) use world::GuidedModel;
