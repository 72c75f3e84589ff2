//! Recognises the formats that people bring where safetensors is expected, to name the remedy.

const CONVERT: &str = "a pickle can run code when it is loaded; convert it to safetensors and use that file";
const DIRECT_LINK: &str = "use the address of the file itself, and a token if the page asks for a login";

/// First bytes of a foreign format, what it is, what to do.
const MAGIC: &[(&[u8], &str, &str)] = &[
    (b"PK\x03\x04", "a zip archive (a PyTorch checkpoint such as .ckpt or .pt)", CONVERT),
    (b"\x80\x02", "a Python pickle (a PyTorch checkpoint such as .ckpt or .pt)", CONVERT),
    (b"\x80\x03", "a Python pickle", CONVERT),
    (b"\x80\x04", "a Python pickle", CONVERT),
    (b"\x80\x05", "a Python pickle", CONVERT),
    (b"GGUF", "a GGUF file", "use the model's safetensors file"),
    (b"\x1f\x8b", "a gzip archive", "unpack it and use the safetensors file in it"),
    (b"<!DOCTYPE", "an HTML page", DIRECT_LINK),
    (b"<!doctype", "an HTML page", DIRECT_LINK),
    (b"<html", "an HTML page", DIRECT_LINK),
    (b"version https://git-lfs", "a Git LFS pointer", "download the object that it points to"),
];

/// A HDF5 or tar signature does not stand at byte 0 in a way worth a row; these do.
pub(crate) fn name_of_foreign_format(prefix: &[u8]) -> Option<(&'static str, &'static str)> {
    MAGIC.iter().find(|(magic, ..)| is_foreign(prefix, magic)).map(|(_, found, remedy)| (*found, *remedy))
}

/// The first eight bytes of safetensors are a length followed by `{`: a short magic could be the
/// low bytes of an honest length, so a file whose ninth byte opens a JSON object is never foreign.
fn is_foreign(prefix: &[u8], magic: &[u8]) -> bool {
    prefix.starts_with(magic) && !(magic.len() < 8 && prefix.get(5..9) == Some(b"\0\0\0{".as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_looks_like_a_pickle_is_still_safetensors() {
        let mut honest = 0x0280_u64.to_be_bytes().iter().rev().copied().collect::<Vec<_>>();
        honest[0] = 0x80;
        honest[1] = 0x02;
        honest.extend(b"{\"a\"");
        assert_eq!(name_of_foreign_format(&honest), None);
        assert!(name_of_foreign_format(b"\x80\x02}q\x00(X\x05\x00\x00\x00").is_some());
        assert!(name_of_foreign_format(b"PK\x03\x04\x00\x00\x08\x08\x00\x00").is_some());
    }
}
