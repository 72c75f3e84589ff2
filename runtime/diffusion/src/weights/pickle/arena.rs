//! The values of a pickle, held in one bounded list and referred to by number.
//!
//! Numbers instead of pointers: a value that contains itself leaks nothing, and a million nested lists
//! are freed without recursion.

use std::ops::Range;

use super::super::dtype::Dtype;
use super::error::PickleError;
use super::globals::Global;
use super::tensor::View;

/// Most values of one file, of 32 bytes each. SD 1.x with its optimiser has 70,000.
const MAX_NODES: usize = 2_000_000;

/// Most entries copied from one dictionary into another, in all calls together.
const MAX_COPIED: u64 = 8_000_000;

/// A value's number in its [`Arena`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

/// A value. Strings stay where they are, in the bytes of the pickle.
#[derive(Debug, Clone)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Range<usize>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// With the name that messages show.
    Global(Global, &'static str),
    Storage(Box<Storage>),
    Tensor(Box<View>),
    /// Something harmless that is no part of a model: a set, a numpy scalar, a huge integer.
    Opaque,
}

/// What a persistent id names: bytes elsewhere in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Storage {
    /// `None` where the tensor itself says it (untyped storages).
    pub dtype: Option<Dtype>,
    pub key: Range<usize>,
    /// Elements; bytes if there is no type.
    pub elements: u64,
}

#[derive(Debug, Default)]
pub(super) struct Arena {
    nodes: Vec<Node>,
    copied: u64,
}

impl Arena {
    pub(super) fn add(&mut self, node: Node) -> Result<Id, PickleError> {
        let index = self.nodes.len();
        if index >= MAX_NODES {
            let (value, limit) = (index as u64 + 1, MAX_NODES as u64);
            return Err(PickleError::Limit { what: "values", value, limit });
        }
        self.nodes.push(node);
        Ok(Id(index as u32))
    }

    /// Pays for copying `entries` before it is done: a short pickle may ask for the same copy a million times.
    pub(super) fn charge(&mut self, entries: usize) -> Result<(), PickleError> {
        self.copied = self.copied.saturating_add(entries as u64);
        if self.copied > MAX_COPIED {
            let (value, limit) = (self.copied, MAX_COPIED);
            return Err(PickleError::Limit { what: "copied entries", value, limit });
        }
        Ok(())
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn get(&self, id: Id) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id.0 as usize]
    }

    /// All storages that were named.
    pub(super) fn storages(&self) -> impl Iterator<Item = &Storage> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(storage.as_ref()),
            _ => None,
        })
    }

    /// The items of a tuple or list.
    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// A whole number from zero.
    pub(super) fn count(&self, id: Id) -> Option<u64> {
        self.int(id).and_then(|v| u64::try_from(v).ok())
    }
}
