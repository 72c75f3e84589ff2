//! The opcodes of all pickle protocols: all have names for messages, few are obeyed.

macro_rules! opcodes {
    ($($name:ident = $byte:expr),+ $(,)?) => {
        $(pub(super) const $name: u8 = $byte;)+
        const OBEYED: &[(u8, &str)] = &[$(($byte, stringify!($name))),+];
    };
}

opcodes! {
    MARK = b'(', STOP = b'.', POP = b'0', POP_MARK = b'1', DUP = b'2',
    NONE = b'N', NEWTRUE = 0x88, NEWFALSE = 0x89,
    BININT = b'J', BININT1 = b'K', BININT2 = b'M', LONG1 = 0x8a, LONG4 = 0x8b, BINFLOAT = b'G',
    BINSTRING = b'T', SHORT_BINSTRING = b'U', BINBYTES = b'B', SHORT_BINBYTES = b'C', BINBYTES8 = 0x8e,
    BINUNICODE = b'X', SHORT_BINUNICODE = 0x8c, BINUNICODE8 = 0x8d,
    EMPTY_TUPLE = b')', TUPLE = b't', TUPLE1 = 0x85, TUPLE2 = 0x86, TUPLE3 = 0x87,
    EMPTY_LIST = b']', APPEND = b'a', APPENDS = b'e', EMPTY_SET = 0x8f, ADDITEMS = 0x90,
    EMPTY_DICT = b'}', SETITEM = b's', SETITEMS = b'u',
    BINGET = b'h', LONG_BINGET = b'j', BINPUT = b'q', LONG_BINPUT = b'r', MEMOIZE = 0x94,
    GLOBAL = b'c', STACK_GLOBAL = 0x93, REDUCE = b'R', NEWOBJ = 0x81, BUILD = b'b', BINPERSID = b'Q',
    PROTO = 0x80, FRAME = 0x95,
}

/// Text forms of protocol 0, other ways to make objects, and buffers outside of the pickle.
const REFUSED: &[(u8, &str)] = &[
    (b'F', "FLOAT"),
    (b'I', "INT"),
    (b'L', "LONG"),
    (b'S', "STRING"),
    (b'V', "UNICODE"),
    (b'P', "PERSID"),
    (b'd', "DICT"),
    (b'l', "LIST"),
    (b'g', "GET"),
    (b'p', "PUT"),
    (b'i', "INST"),
    (b'o', "OBJ"),
    (0x82, "EXT1"),
    (0x83, "EXT2"),
    (0x84, "EXT4"),
    (0x91, "FROZENSET"),
    (0x92, "NEWOBJ_EX"),
    (0x96, "BYTEARRAY8"),
    (0x97, "NEXT_BUFFER"),
    (0x98, "READONLY_BUFFER"),
];

/// What a message calls this byte.
pub(super) fn name_of(byte: u8) -> String {
    let row = REFUSED.iter().chain(OBEYED).find(|row| row.0 == byte);
    row.map_or_else(|| format!("0x{byte:02x}"), |row| row.1.to_owned())
}
