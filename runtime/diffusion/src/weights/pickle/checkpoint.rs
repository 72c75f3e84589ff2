//! From the bytes of a checkpoint, in either container, to its header.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::header::{Header, TensorEntry};
use super::archive::Archive;
use super::error::{PickleError, clip};
use super::flatten::{Flat, flatten};
use super::legacy::{is_legacy, read_preamble, storage_ranges};
use super::machine::Machine;

/// Largest pickle inside of an archive; that of SDXL has 400 KB.
const MAX_PICKLE: u64 = 64 << 20;
/// Tensors may share storages, yet their sizes together stay within this many times the file's.
const MAX_SHARING: u64 = 8;

/// Does a file that begins like this hold a checkpoint of PyTorch? Archives of other kinds look alike.
pub(crate) fn is_pickle(prefix: &[u8]) -> bool {
    let protocol = matches!(prefix, [0x80, 2..=5, ..]);
    // The first eight bytes of safetensors are a length followed by `{`; see `sniff.rs`.
    let safetensors = prefix.get(5..9) == Some(b"\0\0\0{".as_slice());
    prefix.starts_with(b"PK\x03\x04") || (protocol && !safetensors)
}

/// The header of a checkpoint whose bytes are `bytes`. Tensors' data are not touched.
///
/// # Errors
/// It is damaged, asks for something that is not on the list, or its tensors lie outside of it.
pub fn read_pickle(bytes: &[u8]) -> Result<Header, PickleError> {
    if bytes.starts_with(b"PK\x03\x04") { read_archive(bytes) } else { read_legacy(bytes) }
}

fn read_archive(bytes: &[u8]) -> Result<Header, PickleError> {
    let archive = Archive::open(bytes)?;
    if archive.read(b"byteorder")?.is_some_and(|order| order.starts_with(b"big")) {
        return Err(PickleError::BigEndian);
    }
    let pickle = archive.read(b"data.pkl")?.ok_or(PickleError::NotACheckpoint)?;
    if pickle.len() as u64 > MAX_PICKLE {
        let (value, limit) = (pickle.len() as u64, MAX_PICKLE);
        return Err(PickleError::Limit { what: "bytes", value, limit });
    }
    let mut machine = Machine::new(pickle, 0);
    let root = machine.run()?;
    let flat = flatten(&machine.arena, pickle, root)?;
    let find = |key: &[u8]| archive.range(&[b"data/", key].concat());
    header(flat, pickle, bytes.len() as u64, find)
}

fn read_legacy(bytes: &[u8]) -> Result<Header, PickleError> {
    let mut machine = Machine::new(bytes, 0);
    let legacy = is_legacy(bytes);
    if legacy {
        read_preamble(&mut machine)?;
    }
    let root = machine.run()?;
    let flat = flatten(&machine.arena, bytes, root)?;
    // A plain pickle has no storages: if it holds tensors, they are missed by name below.
    let ranges = if legacy { storage_ranges(&mut machine)? } else { Default::default() };
    header(flat, bytes, bytes.len() as u64, |key| Ok(ranges.get(key).cloned()))
}

/// Gives every tensor its place in the file; `find` knows where a storage lies.
fn header(
    flat: Flat,
    pickle: &[u8],
    file_len: u64,
    find: impl Fn(&[u8]) -> Result<Option<Range<u64>>, PickleError>,
) -> Result<Header, PickleError> {
    let mut tensors: BTreeMap<String, TensorEntry> = BTreeMap::new();
    let mut total = 0_u64;
    for (name, view) in flat.tensors {
        let key = pickle.get(view.storage.key.clone()).unwrap_or_default();
        let missing = || PickleError::NoStorage { name: name.clone(), storage: clip(key) };
        let place = find(key)?.ok_or_else(missing)?;
        let entry = view.entry(&name, &place)?;
        total = total.saturating_add(entry.elements().saturating_mul(entry.dtype.bits().div_ceil(8)));
        tensors.insert(name, entry);
    }
    let limit = file_len.saturating_mul(MAX_SHARING);
    if total > limit {
        return Err(PickleError::Limit {
            what: "bytes of tensors that share their data",
            value: total,
            limit,
        });
    }
    Ok(Header { tensors, metadata: flat.texts, file_len })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(pickle: &[u8]) -> PickleError {
        read_pickle(pickle).expect_err("this pickle must be refused")
    }

    #[test]
    fn what_could_run_is_named_and_never_runs() {
        let cases: &[(&str, &[u8], &str, &str)] = &[
            (
                "os.system",
                b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.",
                "UnsafePickle",
                "`os.system` at byte 2",
            ),
            ("posix.system", b"\x80\x02cposix\nsystem\n.", "UnsafePickle", "posix.system"),
            ("eval", b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "UnsafePickle", "`builtins.eval`"),
            ("getattr", b"\x80\x02c__builtin__\ngetattr\n.", "UnsafePickle", "__builtin__.getattr"),
            ("torch.load", b"\x80\x02ctorch\nload\n.", "UnsafePickle", "torch.load"),
            ("INST", b"\x80\x02(ios\nsystem\n.", "UnsafePickle", "opcode INST"),
            ("OBJ", b"\x80\x02(o.", "UnsafePickle", "opcode OBJ at byte 3"),
            ("EXT1", b"\x80\x02\x82\x01.", "UnsafePickle", "opcode EXT1"),
            ("PERSID", b"\x80\x02Pid\n.", "UnsafePickle", "opcode PERSID"),
            ("NEWOBJ_EX", b"\x80\x04)}\x92.", "UnsafePickle", "NEWOBJ_EX"),
            ("no opcode at all", b"\x80\x02\xff.", "UnsafePickle", "0xff"),
            ("calling a class", b"\x80\x02ctorch\nTensor\n)R.", "UnsafePickle", "`Tensor`"),
            ("calling a string", b"\x80\x02X\x01\0\0\0a)R.", "InvalidPickle", "no global is called"),
        ];
        for (name, pickle, reason, words) in cases {
            let error = error(pickle);
            assert_eq!(error.reason(), *reason, "{name}: {error}");
            assert!(error.to_string().contains(words), "{name}: {error}");
            assert!(!error.retriable(), "{name}");
        }
    }

    #[test]
    fn broken_pickles_are_errors_and_cost_nothing() {
        let cases: &[(&str, &[u8], &str)] = &[
            ("nothing", b"\x80\x02", "TruncatedFile"),
            ("no STOP", b"\x80\x02}", "TruncatedFile"),
            ("an empty stack", b"\x80\x02.", "InvalidPickle"),
            ("a mark that is missing", b"\x80\x02t.", "InvalidPickle"),
            ("below a mark", b"\x80\x02N(\x85.", "InvalidPickle"),
            ("a string of 4 GB", b"\x80\x02X\xff\xff\xff\xff.", "TruncatedFile"),
            ("a string of 16 EB", b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "TruncatedFile"),
            ("no such memo", b"\x80\x02h\x05.", "InvalidPickle"),
            ("a key without value", b"\x80\x02}(K\x01u.", "InvalidPickle"),
            ("a newer protocol", b"\x80\x02\x80\x09N.", "InvalidPickle"),
            ("an id of nothing", b"\x80\x02NQ.", "InvalidPickle"),
        ];
        for (name, pickle, reason) in cases {
            let error = error(pickle);
            assert_eq!(error.reason(), *reason, "{name}: {error}");
        }
    }

    #[test]
    fn plain_values_become_texts() {
        let pickle = b"\x80\x02}(X\x04\0\0\0nameX\x03\0\0\0catX\x04\0\0\0stepM\xf4\x01K\x07]K\x01au.";
        let header = read_pickle(pickle).unwrap();
        let texts: Vec<_> = header.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(texts, [("7.0", "1"), ("name", "cat"), ("step", "500")]);
        assert!(header.tensors.is_empty());
    }

    #[test]
    fn bombs_end_at_their_limit() {
        // A list in a list, a million deep: nothing recurses while it is built or freed.
        let mut deep = b"\x80\x02".to_vec();
        deep.extend(std::iter::repeat_n(b']', 1_000_000));
        deep.extend(std::iter::repeat_n(b'a', 999_999));
        deep.push(b'.');
        assert!(error(&deep).to_string().contains("levels of nesting"));

        // Each tuple holds the one before twice: 2^15 leaves at the deepest level that is allowed, and
        // a list of those.
        let mut wide = b"\x80\x02K\x01".to_vec();
        for _ in 0..14 {
            wide.extend(b"2\x86");
        }
        wide.extend(b"q\0(");
        wide.extend(b"h\0".repeat(1000));
        wide.extend(b"t.");
        assert!(error(&wide).to_string().contains("nested values"));

        // A dictionary that contains itself.
        assert!(error(b"\x80\x02}q\0K\x01h\0s.").to_string().contains("levels of nesting"));

        // One big dictionary, copied again and again.
        let mut copies = b"\x80\x02ccollections\nOrderedDict\nq\x010}q\0(".to_vec();
        copies.extend(b"NN".repeat(10_000));
        copies.extend(b"u0");
        copies.extend(b"h\x01h\0\x85R0".repeat(1000));
        copies.extend(b"N.");
        assert!(error(&copies).to_string().contains("copied entries"));

        // Opcodes without end.
        let mut flood = b"\x80\x02N".to_vec();
        flood.extend(b"20".repeat(8_500_000));
        flood.push(b'.');
        assert!(error(&flood).to_string().contains("opcodes"));
        let mut values = b"\x80\x02".to_vec();
        values.extend(std::iter::repeat_n(b'N', 2_100_000));
        assert!(error(&values).to_string().contains("values"));

        // One value, remembered under every number.
        let mut memo = b"\x80\x02N".to_vec();
        (0..100_u8).for_each(|key| memo.extend([b'q', key]));
        assert!(error(&memo).to_string().contains("memo entries"));
    }
}
