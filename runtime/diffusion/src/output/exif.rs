//! The smallest EXIF block that carries a comment.
//!
//! Facts: EXIF 2.32, tags 0x8769 (the Exif directory's offset) and 0x9286 (`UserComment`), whose
//! first eight bytes name its encoding.

/// A big-endian TIFF block whose `UserComment` is this text in UTF-16, where A1111 reads it.
pub(super) fn user_comment(text: &str) -> Vec<u8> {
    let mut comment = b"UNICODE\0".to_vec();
    comment.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
    let mut out = b"MM\0\x2a".to_vec();
    out.extend(8_u32.to_be_bytes());
    directory(&mut out, 0x8769, Kind::Long, 1, 26);
    directory(&mut out, 0x9286, Kind::Undefined, comment.len() as u32, 44);
    out.extend(comment);
    out
}

#[derive(Clone, Copy)]
enum Kind {
    Long = 4,
    Undefined = 7,
}

/// A directory of one entry, 18 bytes long.
fn directory(out: &mut Vec<u8>, tag: u16, kind: Kind, count: u32, value: u32) {
    out.extend(1_u16.to_be_bytes());
    out.extend(tag.to_be_bytes());
    out.extend((kind as u16).to_be_bytes());
    out.extend(count.to_be_bytes());
    out.extend(value.to_be_bytes());
    out.extend(0_u32.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_point_where_the_data_is() {
        let block = user_comment("né");
        assert_eq!(&block[26..30], [0, 1, 0x92, 0x86]);
        assert_eq!(&block[44..52], b"UNICODE\0");
        assert_eq!(&block[52..], [0, b'n', 0, 0xe9]);
    }
}
