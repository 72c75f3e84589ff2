"""Writes pictures and the hints that OpenCV and numpy make of them.

    pip install -r requirements.txt && python preprocess.py

The twenty pictures for Canny are stored with their edges packed to bits. The other preprocessors are
restated from the sd-webui-controlnet extension's definitions.
"""

from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
OUT = {}


def keep(name, value):
    OUT[name] = torch.from_numpy(np.array(value, order="C"))


def picture(seed):
    """One of several kinds: smooth, shapes, stripes, noise, grey, nearly flat; sizes differ."""
    rng = np.random.default_rng(seed)
    width, height = (int(v) for v in rng.integers(9, 72, 2))
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    kind = seed % 6
    base = np.stack([127 + 120 * np.sin(x * rng.uniform(0.05, 0.6) + y * rng.uniform(-0.4, 0.4) + c) for c in range(3)], axis=2)
    if kind in (1, 3):
        for _ in range(8):
            cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(1, 20)
            base[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.uniform(0, 255, 3)
    if kind == 2:
        base = np.where(((x + y) // 3 % 2 == 0)[..., None], base, 255 - base)
    if kind in (3, 4):
        base += rng.normal(0, 60 if kind == 4 else 12, base.shape)
    if kind == 4:
        base = np.repeat(base[:, :, :1], 3, axis=2)
    if kind == 5:
        base = 128 + (base - 127) * 0.2
    return base.clip(0, 255).astype(np.uint8)


THRESHOLDS = [(100, 200), (50, 100), (200, 100), (0, 0), (20, 250), (1, 255)]


def edges():
    for n in range(20):
        image = picture(n)
        low, high = THRESHOLDS[n % len(THRESHOLDS)]
        keep(f"canny.{n}.in", image)
        keep(f"canny.{n}.thresholds", np.array([low, high], np.uint8))
        for name, (a, b) in {"own": (low, high), "default": (100, 200)}.items():
            keep(f"canny.{n}.{name}", np.packbits(cv2.Canny(image, a, b) // 255))


def at_resolution(image, resolution):
    height, width = image.shape[:2]
    scale = resolution / min(height, width)
    size = int(np.round(width * scale)), int(np.round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)


def padded(image):
    height, width = image.shape[:2]
    return np.pad(image, [(0, -height % 64), (0, -width % 64), (0, 0)], mode="edge")


def preprocessors():
    image = picture(1)
    image = cv2.resize(image, (130, 96), interpolation=cv2.INTER_LINEAR)
    keep("in", image)
    small, large = at_resolution(image, 80), at_resolution(image, 128)
    keep("resolution.80", small)
    keep("resolution.128", large)
    height, width = small.shape[:2]
    keep("canny.80", np.packbits(cv2.Canny(padded(small), 100, 200)[:height, :width] // 255))
    keep("threshold.80", np.packbits(small.min(axis=2) > 127))
    field = padded(small).astype(np.float32)
    narrow, wide = (cv2.GaussianBlur(field, (0, 0), s) for s in (0.5, 5.0))
    bright = (255 - (wide - narrow).min(axis=2)).clip(0, 255).astype(np.uint8)
    keep("scribble_xdog.80", np.packbits((np.uint8(2) * (255 - bright) > 32)[:height, :width]))
    rate = 2.3
    keep("tile_resample", cv2.resize(image, (int(130 / rate), int(96 / rate)), interpolation=cv2.INTER_AREA))
    keep("shuffle.80", shuffled(small, np.random.RandomState(7)))


def fitted(image, mode, width, height):
    """The extension's resize modes for hints with many colours: stretched, cut, with a border."""
    old_height, old_width = image.shape[:2]
    scales = height / old_height, width / old_width
    if mode == "stretch":
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    scale = max(scales) if mode == "crop" else min(scales)
    size = int(np.round(old_width * scale)), int(np.round(old_height * scale))
    smaller = size[0] * size[1] < old_width * old_height
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    if mode == "crop":
        left, top = max(0, (size[0] - width) // 2), max(0, (size[1] - height) // 2)
        return small[top : top + height, left : left + width]
    edges = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    out = np.tile(np.median(edges, axis=0).astype(np.uint8), (height, width, 1))
    left, top = max(0, (width - size[0]) // 2), max(0, (height - size[1]) // 2)
    out[top : top + size[1], left : left + size[0]] = small
    return out


def hints():
    image = OUT["in"].numpy()
    for mode, width, height in [("stretch", 64, 88), ("crop", 72, 80), ("border", 72, 80), ("crop", 96, 64), ("border", 96, 64)]:
        keep(f"hint.{mode}.{width}x{height}", fitted(image, mode, width, height))


def shuffled(image, random, patch=256):
    height, width = image.shape[:2]

    def field(most):
        noise = random.uniform(0, 1, (height // patch + 2, width // patch + 2, 1))
        noise = cv2.resize(noise, (width + 2 * patch, height + 2 * patch), interpolation=cv2.INTER_CUBIC)
        noise = noise[patch : patch + height, patch : patch + width]
        noise = noise - noise.min()
        return noise / noise.max() * most

    across = field(width - 1)
    flow = np.dstack([across, field(height - 1)]).astype(np.float32)
    return cv2.remap(image, flow, None, cv2.INTER_LINEAR)


edges()
preprocessors()
hints()
save_file(OUT, HERE / "preprocess.safetensors")
print(cv2.__version__, sum(t.numel() * t.element_size() for t in OUT.values()))
