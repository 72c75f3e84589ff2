"""Random numbers: torch's, Philox and the web UI's ways of using them restated, torchsde's Brownian tree."""

import math

import numpy as np
import torch
import torchsde

from kdiffusion import sampling

MASK = 0xFFFFFFFF


def philox(counter, key):
    """Salmon et al. 2011: ten rounds of Philox 4x32 in Python's integers."""
    (a, b, c, d), (k, l) = counter, key
    for _ in range(10):
        x, y = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (y >> 32) ^ b ^ k, y & MASK, (x >> 32) ^ d ^ l, x & MASK
        k, l = (k + 0x9E3779B9) & MASK, (l + 0xBB67AE85) & MASK
    return a, b, c, d


class Nv:
    """torch's generator on a GPU: a subsequence per value, an offset per call, the first of four numbers."""

    def __init__(self, seed):
        self.key, self.calls = (seed & MASK, seed >> 32), 0
        self.scale = float(np.float32(2.3283064e-10))
        self.turn = float(np.float32(2.3283064e-10 * 6.2831855))

    def value(self, i):
        a, b, _, _ = philox((self.calls, 0, i, 0), self.key)
        radius = math.sqrt(-2 * math.log(a * self.scale + self.scale / 2))
        return radius * math.sin(b * self.turn + self.turn / 2)

    def randn(self, *shape):
        values = np.array([self.value(i) for i in range(math.prod(shape))], dtype=np.float32)
        self.calls += 1
        return torch.from_numpy(values).reshape(shape)


class Cpu:
    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def randn(self, *shape):
        return torch.randn(*shape, generator=self.generator, dtype=torch.float32)


SOURCES = {"cpu": Cpu, "nv": Nv}


class Batch:
    """Each picture's own stream; `next` stacks what each draws."""

    def __init__(self, seeds, shape, source="cpu", dtype=torch.float32):
        self.streams, self.shape, self.dtype = [SOURCES[source](s) for s in seeds], shape, dtype

    def next(self):
        return torch.stack([s.randn(*self.shape) for s in self.streams]).to(self.dtype)


def slerp(at, low, high):
    """Along dimension 1 of `[channels, height, width]`, as the web UI turns noises."""
    dot = (low / low.norm(dim=1, keepdim=True) * (high / high.norm(dim=1, keepdim=True))).sum(1)
    if dot.mean() > 0.9995:
        return low * at + high * (1 - at)
    angle = dot.acos()
    parts = (torch.sin((1 - at) * angle) / angle.sin(), torch.sin(at * angle) / angle.sin())
    return parts[0].unsqueeze(1) * low + parts[1].unsqueeze(1) * high


def centred(large, small):
    """`small` in the middle of `large`, with Python's halving towards minus infinity."""
    out = large.clone()
    spans = []
    for big, little in zip(large.shape[1:], small.shape[1:]):
        gap = (big - little) // 2
        length = little if gap >= 0 else little + 2 * gap
        spans.append((slice(max(gap, 0), max(gap, 0) + length), slice(max(-gap, 0), max(-gap, 0) + length)))
    (y, y_from), (x, x_from) = spans
    out[:, y, x] = small[:, y_from, x_from]
    return out


def image_noise(seeds, shape, source, variation=None, resize=None, delta=0, draws=3):
    """What the web UI's `ImageRNG` gives: the first noise and those of the steps."""
    kind = SOURCES[source]
    streams = [kind(s) for s in seeds]
    first = []
    for i, (seed, stream) in enumerate(zip(seeds, streams)):
        own = stream.randn(*shape)
        small = shape if resize is None else (shape[0], *resize)
        noise = own if small == shape else kind(seed).randn(*small)
        if variation is not None:
            noise = slerp(variation[1], noise, kind(variation[0][i]).randn(*small))
        first.append(noise if small == shape else centred(own, noise))
    if delta:
        streams = [kind(s + delta) for s in seeds]
    rest = [torch.stack([s.randn(*shape) for s in streams]) for _ in range(draws - 1)]
    return torch.stack([torch.stack(first), *rest])


# Name, seeds, source, variation (seeds, strength), size to resize from, ENSD. The latents are 4x6x5.
IMAGES = [
    ("plain", [7, 2**40 + 3], "cpu", None, None, 0),
    ("plain_nv", [7, 2**40 + 3], "nv", None, None, 0),
    ("ensd", [7, 8], "cpu", None, None, 31337),
    ("variation", [7, 7], "cpu", ([1, 2], 0.3), None, 0),
    ("variation_nv", [7, 7], "nv", ([1, 2], 0.75), None, 31337),
    ("same", [7, 8], "cpu", ([7, 8], 0.3), None, 0),
    ("smaller", [7, 8], "cpu", None, (3, 2), 0),
    ("larger", [7, 8], "nv", None, (9, 8), 0),
    ("mixed", [7, 8], "cpu", ([4, 5], 0.5), (3, 8), 5),
]


def replace_randn(source):
    """The web UI lets torchsde draw from its own source too."""

    def randn(size, dtype, device, seed):
        return SOURCES[source](int(seed)).randn(*size).to(dtype)

    torchsde._brownian.brownian_interval._randn = randn


BROWNIAN_SEEDS = [1, 42, 2**40 + 7]


def brownian_goldens(out):
    levels = sampling.get_sigmas_karras(12, 0.0291675, 14.614642)[:-1]
    pairs = [(a.item(), b.item()) for a, b in zip(levels, levels[1:])]
    between = [((a * b) ** 0.5, b) for a, b in pairs]
    odd = [(14.614642, 0.0291675), (3.0, 3.000001), (0.5, 7.25), (7.25, 0.5), (20.0, 1.0), (1.0, 0.001)]
    asked = [*pairs, *between, *pairs[::-1], *odd]
    out["brownian.times"] = torch.tensor(asked)
    for source, shape in (("cpu", (4, 4, 4)), ("nv", (4, 2, 2))):
        replace_randn(source)
        x = torch.zeros(len(BROWNIAN_SEEDS), *shape)
        tree = sampling.BrownianTreeNoiseSampler(x, torch.tensor(0.0291675), torch.tensor(14.614642), seed=BROWNIAN_SEEDS)
        out[f"brownian.{source}"] = torch.stack([tree(a, b) for a, b in out["brownian.times"]])
    replace_randn("cpu")


def goldens():
    out = {}
    for seed in (0, 1, 2**32 + 5, 2**63 + 11):
        rng = Nv(seed)
        out[f"philox.{seed}"] = torch.stack([rng.randn(70) for _ in range(3)])
    for name, seeds, source, variation, resize, delta in IMAGES:
        out[f"image.{name}"] = image_noise(seeds, (4, 6, 5), source, variation, resize, delta)
    for entropy, key in ((0, ()), (5, (0, 0)), (5, (9, 3)), (2**63 + 1, (2**33, 40))):
        state = np.random.SeedSequence(entropy, spawn_key=key, pool_size=24).generate_state(6)
        out["seeds." + ".".join(map(str, (entropy, *key)))] = torch.from_numpy(state.astype(np.int64))
    brownian_goldens(out)
    return {name: value.contiguous() for name, value in out.items()}
