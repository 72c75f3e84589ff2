//! Gradient checkpointing: of the UNet only what goes from step to step is kept, and each step is computed
//! again when its gradients are due.
//!
//! Facts: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". candle's graph keeps what every
//! operation saw until the last gradient is there; here no graph is longer than a step. Loss and gradients are
//! those of one long graph bit for bit: a run may change from one to the other.

use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId, Var};

use crate::unet::Walk;

use super::plan::NamedVar;

/// What of the UNet is kept from the loss to its gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GradientCheckpointing {
    /// Everything: the fastest.
    #[default]
    Off,
    /// What goes from block to block; the rest is computed a second time, for about a third more time.
    Blocks,
}

/// Keeps what is needed to compute steps again.
#[derive(Default)]
pub(super) struct Recorder<'n> {
    steps: Vec<Step<'n>>,
    /// Tensors with a graph of their own that came into the steps, and what stood for them there.
    roots: Vec<(Tensor, Tensor)>,
}

type Run<'n> = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + 'n>;

struct Step<'n> {
    inputs: Vec<Tensor>,
    /// A leaf: its memory, without the step's graph.
    output: Tensor,
    run: Run<'n>,
}

impl<'n> Walk<'n> for Recorder<'n> {
    fn step<const N: usize>(
        &mut self,
        inputs: [&Tensor; N],
        run: impl Fn([&Tensor; N]) -> Result<Tensor> + 'n,
    ) -> Result<Tensor> {
        let inputs = inputs.iter().map(|x| self.enter(x)).collect::<Result<Vec<_>>>()?;
        let run = move |all: &[Tensor]| run(std::array::from_fn(|i| &all[i]));
        let output = leaf(&run(&inputs)?)?;
        if output.track_op() {
            self.steps.push(Step { inputs, output: output.clone(), run: Box::new(run) });
        }
        Ok(output)
    }
}

impl Recorder<'_> {
    fn enter(&mut self, x: &Tensor) -> Result<Tensor> {
        if !x.track_op() || x.is_variable() {
            return Ok(x.clone());
        }
        if let Some((_, known)) = self.roots.iter().find(|(root, _)| root.id() == x.id()) {
            return Ok(known.clone());
        }
        let own = leaf(x)?;
        self.roots.push((x.clone(), own.clone()));
        Ok(own)
    }

    /// The gradient of each variable, `None` for one without a part in `loss`, which is a function of what
    /// the last step gave.
    ///
    /// # Errors
    /// Memory cannot be had.
    pub(super) fn backward(mut self, loss: &Tensor, variables: &[NamedVar]) -> Result<Vec<Option<Tensor>>> {
        let mut found = Found::new(variables);
        let last: Vec<Tensor> = self.steps.last().map(|step| step.output.clone()).into_iter().collect();
        found.take(loss.backward()?, &last)?;
        while let Some(Step { inputs, output, run }) = self.steps.pop() {
            let Some(gradient) = found.leaves.remove(&output.id()) else { continue };
            drop(output);
            let seed = (run(&inputs)? * gradient)?.sum_all()?;
            found.take(seed.backward()?, &inputs)?;
        }
        let mut seed: Option<Tensor> = None;
        for (root, leaf) in &self.roots {
            let Some(gradient) = found.leaves.remove(&leaf.id()) else { continue };
            let part = (root * gradient)?.sum_all()?;
            seed = Some(match seed {
                Some(other) => (other + part)?,
                None => part,
            });
        }
        if let Some(seed) = seed {
            found.take(seed.backward()?, &[])?;
        }
        Ok(found.variables)
    }
}

/// The memory of `x` in a leaf that gathers a gradient; `x` itself, if nothing behind it is trained.
fn leaf(x: &Tensor) -> Result<Tensor> {
    if x.track_op() { Ok(Var::from_tensor(&x.detach())?.into_inner()) } else { Ok(x.clone()) }
}

/// Sums of gradients.
struct Found<'v> {
    names: &'v [NamedVar],
    variables: Vec<Option<Tensor>>,
    leaves: HashMap<TensorId, Tensor>,
}

impl<'v> Found<'v> {
    fn new(names: &'v [NamedVar]) -> Self {
        Self { names, variables: vec![None; names.len()], leaves: HashMap::new() }
    }

    /// Adds what one backward gave to its leaves and to the variables.
    fn take(&mut self, mut store: GradStore, leaves: &[Tensor]) -> Result<()> {
        for leaf in leaves {
            if let Some(more) = store.remove(leaf) {
                let sum = added(self.leaves.remove(&leaf.id()), &more)?;
                self.leaves.insert(leaf.id(), sum);
            }
        }
        for (NamedVar { var, .. }, sum) in self.names.iter().zip(&mut self.variables) {
            if let Some(more) = store.remove(var.as_tensor()) {
                *sum = Some(added(sum.take(), &more)?);
            }
        }
        Ok(())
    }
}

/// A gradient may be the result of tracked operations: kept with its graph it would keep the step's.
fn added(sum: Option<Tensor>, more: &Tensor) -> Result<Tensor> {
    match sum {
        Some(sum) => sum + more.detach(),
        None => Ok(more.detach()),
    }
}
