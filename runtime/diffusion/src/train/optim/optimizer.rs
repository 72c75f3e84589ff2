//! The choice between the algorithms, and the states of all variables.

use std::str::FromStr;

use super::adafactor::Adafactor;
use super::adamw::AdamW;
use super::dynamic_map::DynamicMap;
use super::moments::Moments;
use super::sgd::Sgd;
use super::state::State;

/// How a gradient becomes an update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Algorithm {
    /// Two f32 of memory an element.
    AdamW(AdamW),
    /// Two bytes an element: [`DynamicMap`].
    AdamW8Bit(AdamW),
    /// A number for each row and column.
    Adafactor(Adafactor),
    Sgd(Sgd),
}

impl Default for Algorithm {
    fn default() -> Self {
        Self::AdamW(AdamW::default())
    }
}

/// No optimiser has this name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("optimiser `{0}` is unknown: use adamw, adamw-8bit, adafactor or sgd")]
pub struct UnknownOptimizer(pub String);

impl FromStr for Algorithm {
    type Err = UnknownOptimizer;

    /// With default settings; kohya's names (`AdamW8bit`) count too.
    fn from_str(name: &str) -> Result<Self, UnknownOptimizer> {
        match name.to_ascii_lowercase().replace('_', "-").as_str() {
            "adamw" => Ok(Self::AdamW(AdamW::default())),
            "adamw-8bit" | "adamw8bit" => Ok(Self::AdamW8Bit(AdamW::default())),
            "adafactor" => Ok(Self::Adafactor(Adafactor::default())),
            "sgd" => Ok(Self::Sgd(Sgd::default())),
            _ => Err(UnknownOptimizer(name.to_owned())),
        }
    }
}

impl Algorithm {
    /// The name that parses back to it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::AdamW(_) => "adamw",
            Self::AdamW8Bit(_) => "adamw-8bit",
            Self::Adafactor(_) => "adafactor",
            Self::Sgd(_) => "sgd",
        }
    }

    /// The same with another weight decay.
    #[must_use]
    pub fn with_weight_decay(mut self, decay: f64) -> Self {
        match &mut self {
            Self::AdamW(adam) | Self::AdamW8Bit(adam) => adam.weight_decay = decay,
            Self::Adafactor(adafactor) => adafactor.weight_decay = decay,
            Self::Sgd(sgd) => sgd.weight_decay = decay,
        }
        self
    }

    fn state(&self, shape: &[usize]) -> State {
        let elements = shape.iter().product();
        match self {
            Self::AdamW(_) => {
                State::Adam { mean: Moments::plain(elements), square: Moments::plain(elements) }
            }
            Self::AdamW8Bit(_) => State::Adam {
                mean: Moments::quantised(elements, DynamicMap::signed()),
                square: Moments::quantised(elements, DynamicMap::unsigned()),
            },
            Self::Adafactor(_) => match shape {
                [] | [_] => State::Square { square: vec![0.0; elements] },
                [rows, rest @ ..] => {
                    State::Factored { rows: vec![0.0; *rows], columns: vec![0.0; rest.iter().product()] }
                }
            },
            Self::Sgd(sgd) if sgd.momentum != 0.0 => State::Momentum { buffer: vec![0.0; elements] },
            Self::Sgd(_) => State::Nothing,
        }
    }
}

/// An algorithm and what it remembers of each variable.
#[derive(Debug, Clone)]
pub struct Optimizer {
    algorithm: Algorithm,
    states: Vec<State>,
}

impl Optimizer {
    /// For variables of these shapes, in this order.
    pub fn new<'s>(algorithm: Algorithm, shapes: impl IntoIterator<Item = &'s [usize]>) -> Self {
        let states = shapes.into_iter().map(|shape| algorithm.state(shape)).collect();
        Self { algorithm, states }
    }

    /// Step number `step`, counted from 1, of variable number `index`. Both slices have its elements.
    pub fn update(
        &mut self,
        index: usize,
        step: u64,
        learning_rate: f64,
        values: &mut [f32],
        gradient: &[f32],
    ) {
        match (&self.algorithm, &mut self.states[index]) {
            (Algorithm::AdamW(adam) | Algorithm::AdamW8Bit(adam), State::Adam { mean, square }) => {
                adam.update((mean, square), step, learning_rate, values, gradient);
            }
            (Algorithm::Adafactor(adafactor), State::Factored { rows, columns }) => {
                adafactor.update_matrix((rows, columns), step, learning_rate, values, gradient);
            }
            (Algorithm::Adafactor(adafactor), State::Square { square }) => {
                adafactor.update_vector(square, step, learning_rate, values, gradient);
            }
            (Algorithm::Sgd(sgd), State::Momentum { buffer }) => {
                sgd.update(buffer, learning_rate, values, gradient);
            }
            (Algorithm::Sgd(sgd), State::Nothing) => sgd.update(&mut [], learning_rate, values, gradient),
            (_, state) => unreachable!("`new` gave {state:?} to another algorithm"),
        }
    }

    /// What is remembered of each variable.
    pub fn states(&self) -> &[State] {
        &self.states
    }

    /// The same, for a checkpoint to be read into.
    pub fn states_mut(&mut self) -> &mut [State] {
        &mut self.states
    }

    /// Bytes of all states.
    pub fn bytes(&self) -> u64 {
        let size = |slot: &super::state::Slot<'_>| match slot {
            super::state::Slot::F32(values) => values.len() as u64 * 4,
            super::state::Slot::U8(codes) => codes.len() as u64,
        };
        self.states.iter().flat_map(State::slots).map(|(_, slot)| size(&slot)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_states_have_the_promised_size() {
        for (name, bytes) in
            [("adamw", 8 * 64 * 64), ("adamw-8bit", 2 * (64 * 64 + 64)), ("adafactor", 4 * 128), ("sgd", 0)]
        {
            let algorithm: Algorithm = name.parse().unwrap();
            assert_eq!(algorithm.name(), name);
            assert_eq!(Optimizer::new(algorithm, [[64, 64].as_slice()]).bytes(), bytes, "{name}");
        }
        assert!("lion".parse::<Algorithm>().unwrap_err().to_string().contains("adafactor"));
    }

    #[test]
    fn eight_bits_reach_what_thirty_two_reach() {
        // A bowl of 8192 dimensions whose curvatures span two decades.
        let curvature: Vec<f32> = (0..8192).map(|i| 10_f32.powf(i as f32 / 4096.0 - 1.0)).collect();
        let reached = |algorithm: Algorithm| {
            let mut optimizer = Optimizer::new(algorithm, [[8192].as_slice()]);
            let mut values = vec![1.0_f32; 8192];
            for step in 1..=200 {
                let gradient: Vec<f32> = values.iter().zip(&curvature).map(|(v, c)| v * c).collect();
                optimizer.update(0, step, 0.02, &mut values, &gradient);
            }
            values.iter().zip(&curvature).map(|(v, c)| f64::from(0.5 * c * v * v)).sum::<f64>()
        };
        let start: f64 = curvature.iter().map(|c| f64::from(0.5 * c)).sum();
        let (full, eight) = (reached("adamw".parse().unwrap()), reached("adamw-8bit".parse().unwrap()));
        assert!(full < start * 1e-3, "{full} of {start}");
        assert!(eight < start * 1e-3, "{eight} of {start}");
    }
}
