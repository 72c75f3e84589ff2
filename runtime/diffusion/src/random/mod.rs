//! The reference's random numbers, bit for bit: a seed is a picture only if its noise is the same.

mod approx;
mod brownian;
mod interval;
mod mt19937;
mod noise;
mod philox;
mod seed_sequence;
mod slerp;
mod source;
mod torch;

pub use brownian::BrownianNoise;
pub use mt19937::Mt19937;
pub use noise::{LatentNoise, NoiseOptions, Variation};
pub use philox::Philox;
pub use seed_sequence::SeedSequence;
pub use source::{Generator, NoiseSource};
pub use torch::TorchRng;
