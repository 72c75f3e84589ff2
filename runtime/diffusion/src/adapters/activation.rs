//! The functions between a hypernetwork's layers.
//!
//! Facts: the web UI's `HypernetworkModule.activation_dict`, whose `swish` is torch's Hardswish, and the
//! defaults of torch's `nn.modules.activation`.

use candle_core::{Result, Tensor};

use crate::ops::{gelu, silu};

/// An elementwise function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    Linear,
    Relu,
    LeakyRelu,
    Elu,
    HardSwish,
    Tanh,
    Sigmoid,
    Relu6,
    HardTanh,
    HardSigmoid,
    Silu,
    Gelu,
    Softsign,
}

impl Activation {
    /// Every name that can be computed.
    pub(super) const NAMES: &[(&str, Self)] = &[
        ("linear", Self::Linear),
        ("relu", Self::Relu),
        ("leakyrelu", Self::LeakyRelu),
        ("elu", Self::Elu),
        ("celu", Self::Elu),
        ("swish", Self::HardSwish),
        ("hardswish", Self::HardSwish),
        ("tanh", Self::Tanh),
        ("sigmoid", Self::Sigmoid),
        ("relu6", Self::Relu6),
        ("hardtanh", Self::HardTanh),
        ("hardsigmoid", Self::HardSigmoid),
        ("silu", Self::Silu),
        ("gelu", Self::Gelu),
        ("softsign", Self::Softsign),
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|row| row.0 == name).map(|row| row.1)
    }

    pub(super) fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Linear => Ok(x.clone()),
            Self::Relu => x.relu(),
            Self::LeakyRelu => candle_nn::ops::leaky_relu(x, 0.01),
            Self::Elu => x.elu(1.0),
            Self::HardSwish => (x * (x + 3.0)?.clamp(0.0, 6.0)?)? / 6.0,
            Self::Tanh => x.tanh(),
            Self::Sigmoid => candle_nn::ops::sigmoid(x),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::HardTanh => x.clamp(-1.0, 1.0),
            Self::HardSigmoid => ((x / 6.0)? + 0.5)?.clamp(0.0, 1.0),
            Self::Silu => silu(x),
            Self::Gelu => gelu(x),
            Self::Softsign => x / (x.abs()? + 1.0)?,
        }
    }
}
