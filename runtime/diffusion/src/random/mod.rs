//! The reference's random numbers, bit for bit: a seed is a picture only if its noise is the same.

mod approx;
mod mt19937;
mod noise;
mod torch;

pub use mt19937::Mt19937;
pub use noise::LatentNoise;
pub use torch::TorchRng;
