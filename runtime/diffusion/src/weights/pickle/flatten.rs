//! From nested dictionaries to names: keys joined by dots, list items by their numbers.

use std::collections::BTreeMap;

use super::super::header::MAX_TENSORS;
use super::arena::{Arena, Id, Node};
use super::error::PickleError;
use super::tensor::View;

/// Deepest nesting followed; the optimiser of a Lightning checkpoint has 6.
const MAX_DEPTH: usize = 16;
/// Most values visited: dictionaries that share their children make a tree of any size.
const MAX_VISITS: u64 = 4_000_000;
/// Longest name.
const MAX_NAME: usize = 512;
/// Longest text, and most texts and numbers, that are kept beside the tensors.
const MAX_TEXT: usize = 1024;
const MAX_TEXTS: usize = 10_000;

/// What a checkpoint holds, by name.
#[derive(Debug, Default)]
pub(super) struct Flat {
    pub tensors: BTreeMap<String, View>,
    /// Strings and numbers as text: `name`, `step`, `epoch`.
    pub texts: BTreeMap<String, String>,
}

/// Walks the value at `root`; strings are cut out of `bytes`.
///
/// Where there is a dictionary `state_dict` at the top, tensors come from it alone, without that
/// prefix: the rest of a Lightning checkpoint is its optimiser.
pub(super) fn flatten(arena: &Arena, bytes: &[u8], root: Id) -> Result<Flat, PickleError> {
    let mut walk = Walk { arena, bytes, visits: 0, flat: Flat::default() };
    let Some(model) = walk.state_dict(root) else {
        walk.visit(root, &mut String::new(), 0, true)?;
        return Ok(walk.flat);
    };
    walk.visit(root, &mut String::new(), 0, false)?;
    walk.visit(model, &mut String::new(), 0, true)?;
    Ok(walk.flat)
}

struct Walk<'a> {
    arena: &'a Arena,
    bytes: &'a [u8],
    visits: u64,
    flat: Flat,
}

impl Walk<'_> {
    fn state_dict(&self, root: Id) -> Option<Id> {
        let Node::Dict(entries) = self.arena.get(root) else { return None };
        let found = entries.iter().rev().find(|(key, _)| self.text(*key) == Some("state_dict"))?;
        matches!(self.arena.get(found.1), Node::Dict(_)).then_some(found.1)
    }

    fn visit(&mut self, id: Id, name: &mut String, depth: usize, tensors: bool) -> Result<(), PickleError> {
        self.visits += 1;
        if self.visits > MAX_VISITS {
            return Err(PickleError::Limit { what: "nested values", value: self.visits, limit: MAX_VISITS });
        }
        if depth > MAX_DEPTH {
            let (value, limit) = (depth as u64, MAX_DEPTH as u64);
            return Err(PickleError::Limit { what: "levels of nesting", value, limit });
        }
        let arena = self.arena;
        match arena.get(id) {
            Node::Dict(entries) => {
                for (key, value) in entries {
                    let Some(part) = self.key(*key) else { continue };
                    self.child(*value, name, &part, depth, tensors)?;
                }
            }
            Node::List(items) | Node::Tuple(items) => {
                for (i, value) in items.iter().enumerate() {
                    self.child(*value, name, &i.to_string(), depth, tensors)?;
                }
            }
            Node::Tensor(view) if tensors => self.tensor(name, view.as_ref())?,
            Node::Str(_) | Node::Int(_) | Node::Float(_) | Node::Bool(_) => self.leaf(id, name),
            Node::Tensor(_) | Node::None | Node::Global(..) | Node::Storage(_) | Node::Opaque => {}
        }
        Ok(())
    }

    fn child(
        &mut self,
        id: Id,
        name: &mut String,
        part: &str,
        depth: usize,
        tensors: bool,
    ) -> Result<(), PickleError> {
        let length = name.len();
        if length + part.len() + 1 > MAX_NAME {
            let (value, limit) = ((length + part.len() + 1) as u64, MAX_NAME as u64);
            return Err(PickleError::Limit { what: "bytes in a name", value, limit });
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(part);
        let result = self.visit(id, name, depth + 1, tensors);
        name.truncate(length);
        result
    }

    fn tensor(&mut self, name: &str, view: &View) -> Result<(), PickleError> {
        // A file that holds nothing but a tensor gives it no name.
        let name = if name.is_empty() { "tensor" } else { name };
        if self.flat.tensors.len() >= MAX_TENSORS {
            let (value, limit) = (self.flat.tensors.len() as u64 + 1, MAX_TENSORS as u64);
            return Err(PickleError::Limit { what: "tensors", value, limit });
        }
        if self.flat.tensors.insert(name.to_owned(), view.clone()).is_some() {
            return Err(PickleError::Duplicate { name: name.to_owned() });
        }
        Ok(())
    }

    fn leaf(&mut self, id: Id, name: &str) {
        let text = match self.arena.get(id) {
            Node::Int(v) => v.to_string(),
            Node::Float(v) => v.to_string(),
            Node::Bool(v) => v.to_string(),
            _ => self.text(id).unwrap_or_default().to_owned(),
        };
        if text.len() <= MAX_TEXT && self.flat.texts.len() < MAX_TEXTS {
            self.flat.texts.insert(name.to_owned(), text);
        }
    }

    /// Keys are strings, or numbers as in hypernetworks.
    fn key(&self, id: Id) -> Option<String> {
        match self.arena.get(id) {
            Node::Int(v) => Some(v.to_string()),
            _ => self.text(id).filter(|text| text.len() <= MAX_NAME).map(str::to_owned),
        }
    }

    fn text(&self, id: Id) -> Option<&str> {
        match self.arena.get(id) {
            Node::Str(range) => self.bytes.get(range.clone()).and_then(|b| std::str::from_utf8(b).ok()),
            _ => None,
        }
    }
}
