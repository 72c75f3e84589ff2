"""CLIP's byte-pair tokenizer for the captions, read from the vocabulary file that open-clip-torch ships (MIT)."""

import gzip
import importlib.util
import re
from functools import lru_cache
from pathlib import Path

LENGTH = 77
BOS, EOS = 49406, 49407
MERGES = 49152 - 256 - 2
WORDS = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]+")


def _vocabulary_file() -> Path:
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise SystemExit("install open-clip-torch: its package holds the CLIP vocabulary")
    return Path(spec.origin).parent / "bpe_simple_vocab_16e6.txt.gz"


def _byte_symbols() -> list[str]:
    """One printable character per byte in the order of CLIP's vocabulary: printable Latin-1 first, then the rest."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = 256 - len(printable)
    return [chr(code) for code in printable] + [chr(0x100 + extra) for extra in range(rest)]


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """Token numbers and merge ranks."""
    lines = gzip.decompress(_vocabulary_file().read_bytes()).decode("utf-8").split("\n")
    merges = [tuple(line.split()) for line in lines[1 : MERGES + 1]]
    symbols = _byte_symbols()
    tokens = symbols + [symbol + "</w>" for symbol in symbols] + ["".join(pair) for pair in merges]
    return {token: i for i, token in enumerate(tokens)}, {pair: i for i, pair in enumerate(merges)}


@lru_cache(maxsize=4096)
def _word(word: str) -> tuple[int, ...]:
    """Token numbers of one ASCII word: always join the pair of lowest rank until none is left."""
    numbers, ranks = _tables()
    parts = [*word[:-1], word[-1] + "</w>"]
    while len(parts) > 1:
        pairs = list(zip(parts, parts[1:], strict=False))
        best = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)))
        if pairs[best] not in ranks:
            break
        parts[best : best + 2] = ["".join(pairs[best])]
    return tuple(numbers[part] for part in parts)


@lru_cache(maxsize=65536)
def encode(text: str) -> tuple[int, ...]:
    """The 77 token numbers of a caption in ASCII, padded with the end token."""
    body = [number for word in WORDS.findall(text.lower()) for number in _word(word)]
    return tuple([BOS, *body[: LENGTH - 2], *[EOS] * (LENGTH - 1 - len(body[: LENGTH - 2]))])
