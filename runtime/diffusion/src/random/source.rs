//! Where noise comes from: A1111's setting "Random number generator source".

use std::fmt;

use super::philox::Philox;
use super::torch::TorchRng;

/// A choice between torch's two generators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NoiseSource {
    /// torch on a CPU: MT19937. diffusers' own examples use it too.
    #[default]
    Cpu,
    /// torch on a GPU of NVIDIA: Philox. A1111's default.
    Gpu,
    /// The same numbers, made elsewhere.
    Nv,
}

impl NoiseSource {
    /// The name in A1111's settings and infotexts ("RNG").
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Gpu => "GPU",
            Self::Nv => "NV",
        }
    }

    /// Finds a source by its name, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Cpu, Self::Gpu, Self::Nv].into_iter().find(|s| s.name().eq_ignore_ascii_case(name.trim()))
    }

    /// A generator as after `manual_seed(seed)`.
    pub fn generator(self, seed: u64) -> Generator {
        match self {
            Self::Cpu => Generator::Torch(Box::new(TorchRng::new(seed))),
            Self::Gpu | Self::Nv => Generator::Philox(Philox::new(seed)),
        }
    }
}

impl fmt::Display for NoiseSource {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One stream of normal numbers.
#[derive(Debug, Clone)]
pub enum Generator {
    Torch(Box<TorchRng>),
    Philox(Philox),
}

impl Generator {
    /// The next `n` numbers of the stream.
    pub fn randn(&mut self, n: usize) -> Vec<f32> {
        match self {
            Self::Torch(rng) => rng.randn(n),
            Self::Philox(rng) => rng.randn(n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpu_and_nv_are_the_same_numbers() {
        let draw = |source: NoiseSource| source.generator(5).randn(20);
        assert_eq!(draw(NoiseSource::Gpu), draw(NoiseSource::Nv));
        assert_ne!(draw(NoiseSource::Gpu), draw(NoiseSource::Cpu));
        for source in [NoiseSource::Cpu, NoiseSource::Gpu, NoiseSource::Nv] {
            assert_eq!(NoiseSource::parse(source.name()), Some(source));
        }
        assert_eq!(NoiseSource::parse("TPU"), None);
    }
}
