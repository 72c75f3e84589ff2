//! The machine itself: a stack, a memo, and the few opcodes that building tensors takes.

use std::collections::HashMap;

use super::arena::{Arena, Id, Node, Storage};
use super::cursor::Cursor;
use super::error::{PickleError, clip};
use super::globals::{self, Global};
use super::opcode::*;

/// Most opcodes obeyed in one pickle. A Lightning checkpoint of SD 1.x with its optimiser needs 400,000.
const MAX_OPS: u64 = 8_000_000;
/// Newest protocol known.
const MAX_PROTOCOL: u8 = 5;

/// Runs pickles over `bytes`; several may follow one another and share the arena.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub cursor: Cursor<'a>,
    pub arena: Arena,
    stack: Vec<Id>,
    /// Heights of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Where the running opcode stands.
    op_at: usize,
    ops: u64,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self {
            cursor: Cursor::new(bytes, at),
            arena: Arena::default(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            op_at: at,
            ops: 0,
        }
    }

    /// Runs one pickle up to its STOP; the cursor stands behind it.
    pub(super) fn run(&mut self) -> Result<Id, PickleError> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            self.op_at = self.cursor.at();
            let op = self.cursor.u8()?;
            self.ops += 1;
            if self.ops > MAX_OPS {
                return Err(PickleError::Limit { what: "opcodes", value: self.ops, limit: MAX_OPS });
            }
            if op == STOP {
                return self.pop();
            }
            if !(self.literal(op)? || self.container(op)? || self.object(op)?) {
                return Err(PickleError::Opcode { name: name_of(op), offset: self.op_at });
            }
        }
    }

    /// Numbers and strings.
    fn literal(&mut self, op: u8) -> Result<bool, PickleError> {
        let node = match op {
            NONE => Node::None,
            NEWTRUE => Node::Bool(true),
            NEWFALSE => Node::Bool(false),
            BININT => Node::Int(self.cursor.i32()?.into()),
            BININT1 => Node::Int(self.cursor.u8()?.into()),
            BININT2 => Node::Int(self.cursor.u16()?.into()),
            LONG1 => {
                let count = self.cursor.u8()?.into();
                self.cursor.long(count)?.map_or(Node::Opaque, Node::Int)
            }
            LONG4 => {
                let count = self.cursor.u32()?.into();
                self.cursor.long(count)?.map_or(Node::Opaque, Node::Int)
            }
            // The one number in a pickle that is big-endian.
            BINFLOAT => Node::Float(f64::from_be_bytes(self.cursor.array()?)),
            SHORT_BINSTRING | SHORT_BINUNICODE | SHORT_BINBYTES => {
                let count = self.cursor.u8()?.into();
                Node::Str(self.cursor.range(count)?)
            }
            BINSTRING | BINUNICODE | BINBYTES => {
                let count = self.cursor.u32()?.into();
                Node::Str(self.cursor.range(count)?)
            }
            BINUNICODE8 | BINBYTES8 => {
                let count = self.cursor.u64()?;
                Node::Str(self.cursor.range(count)?)
            }
            _ => return Ok(false),
        };
        self.push(node)?;
        Ok(true)
    }

    /// The stack, the memo, tuples, lists and dictionaries.
    fn container(&mut self, op: u8) -> Result<bool, PickleError> {
        match op {
            PROTO => {
                if self.cursor.u8()? > MAX_PROTOCOL {
                    return Err(self.malformed("it is of a newer protocol than 5"));
                }
            }
            // Frames only tell a reader how much to buffer.
            FRAME => drop(self.cursor.u64()?),
            MARK => self.marks.push(self.stack.len()),
            POP => {
                // What Python does too: POP may close a mark.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            POP_MARK => drop(self.pop_mark()?),
            DUP => {
                let top = self.top()?;
                self.stack.push(top);
            }
            BINGET => {
                let key = self.cursor.u8()?.into();
                self.recall(key)?;
            }
            LONG_BINGET => {
                let key = self.cursor.u32()?;
                self.recall(key)?;
            }
            BINPUT => {
                let key = self.cursor.u8()?.into();
                self.remember(key)?;
            }
            LONG_BINPUT => {
                let key = self.cursor.u32()?;
                self.remember(key)?;
            }
            MEMOIZE => {
                let key = self.memo.len() as u32;
                self.remember(key)?;
            }
            EMPTY_TUPLE => self.push(Node::Tuple(Vec::new()))?,
            TUPLE1 => self.tuple(1)?,
            TUPLE2 => self.tuple(2)?,
            TUPLE3 => self.tuple(3)?,
            TUPLE => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items))?;
            }
            EMPTY_LIST => self.push(Node::List(Vec::new()))?,
            EMPTY_DICT => self.push(Node::Dict(Vec::new()))?,
            EMPTY_SET => self.push(Node::Opaque)?,
            APPEND => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            APPENDS | ADDITEMS => {
                let items = self.pop_mark()?;
                self.extend_list(items)?;
            }
            SETITEM => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend_dict(&[key, value])?;
            }
            SETITEMS => {
                let items = self.pop_mark()?;
                self.extend_dict(&items)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Globals and what is made with them.
    fn object(&mut self, op: u8) -> Result<bool, PickleError> {
        match op {
            GLOBAL => {
                let (module, name) = (self.cursor.line()?, self.cursor.line()?);
                self.global(module, name)?;
            }
            STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(module), Some(name)) = (self.text(module), self.text(name)) else {
                    return Err(self.malformed("a global's name is not a string"));
                };
                self.global(module, name)?;
            }
            REDUCE | NEWOBJ => {
                let (args, callable) = (self.pop()?, self.pop()?);
                let Node::Global(global, name) = *self.arena.get(callable) else {
                    return Err(self.malformed("something that is no global is called"));
                };
                let made = globals::call(&mut self.arena, (global, name), args, self.op_at)?;
                self.stack.push(made);
            }
            BUILD => {
                let state = self.pop()?;
                let object = self.top()?;
                let bytes = self.cursor.bytes();
                globals::build(&mut self.arena, bytes, object, state, self.op_at)?;
            }
            BINPERSID => {
                let id = self.pop()?;
                let storage = self.storage(id).ok_or_else(|| self.malformed("an id names no storage"))?;
                self.push(Node::Storage(Box::new(storage)))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn global(&mut self, module: &[u8], name: &[u8]) -> Result<(), PickleError> {
        let Some((global, name)) = Global::find(module, name) else {
            let global = format!("{}.{}", clip(module), clip(name));
            return Err(PickleError::Global { global, offset: self.op_at });
        };
        self.push(Node::Global(global, name))
    }

    /// `("storage", class, key, location, elements[, view])`; views of storages are from before torch 0.4.
    fn storage(&self, id: Id) -> Option<Storage> {
        let items = self.arena.items(id)?;
        if !matches!(items.len(), 5 | 6) || self.text(items[0]) != Some(b"storage") {
            return None;
        }
        if items.get(5).is_some_and(|view| !matches!(self.arena.get(*view), Node::None)) {
            return None;
        }
        let (Node::Global(Global::Storage(dtype), _), Node::Str(key)) =
            (self.arena.get(items[1]), self.arena.get(items[2]))
        else {
            return None;
        };
        Some(Storage { dtype: *dtype, key: key.clone(), elements: self.arena.count(items[4])? })
    }

    fn text(&self, id: Id) -> Option<&'a [u8]> {
        match self.arena.get(id) {
            Node::Str(range) => self.cursor.bytes().get(range.clone()),
            _ => None,
        }
    }

    fn push(&mut self, node: Node) -> Result<(), PickleError> {
        let id = self.arena.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    /// The top of the stack, which must not lie below the last mark.
    fn top(&self) -> Result<Id, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack
            .get(floor..)
            .and_then(<[Id]>::last)
            .copied()
            .ok_or_else(|| self.malformed("the stack is empty"))
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or_else(|| self.malformed("there is no mark"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn tuple(&mut self, count: usize) -> Result<(), PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|start| *start >= floor);
        let start = start.ok_or_else(|| self.malformed("the stack is empty"))?;
        let items = self.stack.split_off(start);
        self.push(Node::Tuple(items))
    }

    fn recall(&mut self, key: u32) -> Result<(), PickleError> {
        let id = self.memo.get(&key).copied().ok_or_else(|| self.malformed("the memo has no such entry"))?;
        self.stack.push(id);
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), PickleError> {
        let top = self.top()?;
        self.memo.insert(key, top);
        // Writers remember a value once; more entries than values are there only to take memory.
        if self.memo.len() > self.arena.len() {
            let (value, limit) = (self.memo.len() as u64, self.arena.len() as u64);
            return Err(PickleError::Limit { what: "memo entries", value, limit });
        }
        Ok(())
    }

    fn extend_list(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        let list = self.top()?;
        match self.arena.get_mut(list) {
            Node::List(all) => all.extend(items),
            Node::Opaque => {}
            _ => return Err(self.malformed("items are added to what is no list")),
        }
        Ok(())
    }

    fn extend_dict(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let dict = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.malformed("a key has no value"));
        }
        match self.arena.get_mut(dict) {
            Node::Dict(all) => all.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            _ => return Err(self.malformed("entries are added to what is no dictionary")),
        }
        Ok(())
    }

    fn malformed(&self, detail: &'static str) -> PickleError {
        PickleError::Malformed { offset: self.op_at, detail }
    }
}
