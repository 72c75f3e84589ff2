"""CLIP's tokenizer without a download."""

import gzip
import importlib.util
from pathlib import Path

from transformers import CLIPTokenizer


def tokenizer():
    """CLIP's tokenizer from the original vocabulary file."""
    origin = Path(importlib.util.find_spec("open_clip").origin).parent
    lines = gzip.decompress((origin / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode().split("\n")
    merges = [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols = [chr(c) for c in printable] + [chr(0x100 + n) for n in range(256 - len(printable))]
    names = symbols + [s + "</w>" for s in symbols] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={n: i for i, n in enumerate(names)}, merges=merges)
