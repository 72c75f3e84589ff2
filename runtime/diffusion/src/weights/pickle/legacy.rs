//! The container of torch before 1.6: five pickles, then each storage with its length before it.

use std::collections::HashMap;
use std::ops::Range;

use super::arena::{Arena, Id, Node};
use super::error::{PickleError, clip};
use super::machine::Machine;

/// What the first pickle holds: 0x1950a86a20f9469cfc6c, in ten bytes.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// Is the first pickle of `bytes` the magic number?
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.get(2..2 + MAGIC.len()) == Some(MAGIC)
}

/// Runs the three pickles before the object, and finds it is little-endian.
pub(super) fn read_preamble(machine: &mut Machine) -> Result<(), PickleError> {
    machine.run()?;
    machine.run()?;
    let system = machine.run()?;
    let bytes = machine.cursor.bytes();
    let Node::Dict(entries) = machine.arena.get(system) else { return Ok(()) };
    let little = entries.iter().find(|(key, _)| is_text(&machine.arena, bytes, *key, b"little_endian"));
    if little.is_some_and(|(_, value)| matches!(machine.arena.get(*value), Node::Bool(false))) {
        return Err(PickleError::BigEndian);
    }
    Ok(())
}

fn is_text(arena: &Arena, bytes: &[u8], id: Id, want: &[u8]) -> bool {
    matches!(arena.get(id), Node::Str(range) if bytes.get(range.clone()) == Some(want))
}

/// Reads the fifth pickle, the storages' keys in the order of the file, and walks over the storages.
pub(super) fn storage_ranges<'a>(
    machine: &mut Machine<'a>,
) -> Result<HashMap<&'a [u8], Range<u64>>, PickleError> {
    let bytes = machine.cursor.bytes();
    let keys = machine.run()?;
    let offset = machine.cursor.at();
    let keys =
        machine.arena.items(keys).ok_or(PickleError::Malformed { offset, detail: "it has no keys" })?;
    let sizes: HashMap<&[u8], u64> = machine
        .arena
        .storages()
        .filter_map(|s| Some((bytes.get(s.key.clone())?, s.dtype.map_or(1, |d| d.bits().div_ceil(8)))))
        .collect();
    let mut ranges = HashMap::new();
    let mut at = offset as u64;
    for key in keys {
        let Node::Str(range) = machine.arena.get(*key) else {
            return Err(PickleError::Malformed { offset, detail: "a storage's key is no string" });
        };
        let key = bytes.get(range.clone()).unwrap_or_default();
        let size = sizes.get(key).copied();
        let size =
            size.ok_or_else(|| PickleError::NoStorage { name: "(none)".into(), storage: clip(key) })?;
        let range = storage_at(bytes, at, size).ok_or(PickleError::Truncated { size: bytes.len() })?;
        at = range.end;
        ranges.insert(key, range);
    }
    Ok(ranges)
}

/// One storage: its number of elements in eight bytes, then the elements.
fn storage_at(bytes: &[u8], at: u64, size: u64) -> Option<Range<u64>> {
    let start = at.checked_add(8)?;
    let head = bytes.get(usize::try_from(at).ok()?..usize::try_from(start).ok()?)?;
    let elements = u64::from_le_bytes(*head.first_chunk()?);
    let end = start.checked_add(elements.checked_mul(size)?)?;
    (end <= bytes.len() as u64).then_some(start..end)
}
