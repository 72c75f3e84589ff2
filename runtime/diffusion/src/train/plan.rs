//! What a method makes of a model: variables, and how networks are built with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Tensor, Var};

use crate::text::Embedding;
use crate::weights::{BuildOptions, ContextPatch, Dropout, SidePath};

use super::hypernetwork::HyperSettings;
use super::lora::LoraModule;

/// What a variable belongs to, for learning rates of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Also a hypernetwork, through which the UNet reads.
    Unet,
    TextEncoder,
    Embedding,
}

/// A tensor that is trained.
#[derive(Debug, Clone)]
pub struct NamedVar {
    /// Unique in a run, and the same in every run of the same method on the same model.
    pub name: String,
    pub var: Var,
    pub group: Group,
}

impl NamedVar {
    pub(super) fn new(name: String, var: Var, group: Group) -> Self {
        Self { name, var, group }
    }
}

/// What the variables are to the files that are written.
#[derive(Debug)]
pub(super) enum Output {
    Lora(Vec<LoraModule>),
    Embedding { name: String },
    Hypernetwork(HyperSettings),
    Model,
}

/// Variables in a fixed order, and how they get into the networks.
#[derive(Debug)]
pub(super) struct Plan {
    pub variables: Vec<NamedVar>,
    /// With a graph behind them.
    pub tracked: Wiring,
    /// The same memory without a graph, for drawing pictures.
    pub plain: Wiring,
    pub dropout: Option<Arc<Dropout>>,
    pub output: Output,
}

/// One way to build networks with the variables.
#[derive(Debug, Default)]
pub(super) struct Wiring {
    pub given: BTreeMap<String, Tensor>,
    pub sides: BTreeMap<String, SidePath>,
    pub contexts: Vec<Arc<dyn ContextPatch>>,
    pub embedding: Option<Arc<Embedding>>,
}

impl Wiring {
    pub fn options(&self) -> Arc<BuildOptions> {
        Arc::new(BuildOptions {
            contexts: self.contexts.clone(),
            given: Arc::new(self.given.clone()),
            sides: Arc::new(self.sides.clone()),
            ..Default::default()
        })
    }
}
