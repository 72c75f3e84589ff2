//! PyTorch checkpoints (`.ckpt`, `.pt`, `.pth`, `.bin`) without Python: a pickle machine that can only
//! build tensors.
//!
//! A pickle is a program. This machine knows the opcodes that `torch.save` writes and a closed list of
//! globals, none of which runs anything; every other opcode or global ends the reading and is named.
//! Values live in one bounded arena, so neither recursion nor shared references cost more than the
//! file's own size. What comes out is the same [`Header`](super::Header) that safetensors give: names,
//! types, shapes and byte ranges of the file.
//!
//! Facts: CPython's `Lib/pickletools.py` (opcodes), torch's `serialization.py` (both containers,
//! persistent ids) and `_utils.py` (`_rebuild_*`), PKWARE's APPNOTE (zip, zip64).

mod archive;
mod arena;
mod checkpoint;
mod cursor;
mod error;
mod flatten;
mod globals;
mod legacy;
mod machine;
mod opcode;
mod tensor;

pub(crate) use checkpoint::is_pickle;
pub use checkpoint::read_pickle;
pub use error::PickleError;
