"""Writes pictures and what Pillow, OpenCV and torch make of them.

    pip install -r requirements.txt && python make.py

Eight-bit results are compared bit for bit; `spread.json` holds the largest difference of torch's
`interpolate` between f32 and f64, from which the tolerance for latents comes.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from safetensors.torch import save_file

HERE = Path(__file__).parent
torch.set_num_threads(1)
OUT = {}
SPREAD = {}
FILTERS = {
    "nearest": Image.Resampling.NEAREST, "box": Image.Resampling.BOX, "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS,
}


def keep(name, value):
    OUT[name] = torch.from_numpy(np.array(value, order="C"))


def picture(seed, width, height):
    """Shapes with hard edges on a gradient, with noise in one half."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    out = np.stack([x * 255 / width, y * 255 / height, (x + y) * 127 / (width + height) + 60], axis=2)
    for _ in range(5):
        cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(2, max(width, height) / 4)
        out[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.uniform(0, 255, 3)
    out[:, width // 2 :] += rng.normal(0, 25, out[:, width // 2 :].shape)
    return out.clip(0, 255).astype(np.uint8)


def mask(seed, width, height):
    rng = np.random.default_rng(seed)
    out = np.zeros((height, width), np.uint8)
    x, y = rng.integers(0, width // 2), rng.integers(0, height // 2)
    out[y : y + height // 3, x : x + width // 3] = 255
    out[rng.integers(0, height), rng.integers(0, width)] = 200
    return out


def resampling():
    for n, (size, targets) in enumerate([((37, 29), [(64, 48), (16, 13), (1, 1), (37, 10), (80, 29), (5, 70)]), ((96, 64), [(33, 47), (7, 5), (97, 65)])]):
        image = picture(n, *size)
        keep(f"resize.{n}.in", image)
        for name, filter in FILTERS.items():
            for w, h in targets:
                keep(f"resize.{n}.{name}.{w}x{h}", np.asarray(Image.fromarray(image).resize((w, h), filter)))


def fit(image, mode, width, height):
    """The three resize modes, written down from their description."""
    if mode == 0:
        return image.resize((width, height), Image.Resampling.LANCZOS)
    wide, own = width / height, image.width / image.height
    inner_w, inner_h = image.width * height // image.height, image.height * width // image.width
    if mode == 1:
        size = (width if wide > own else inner_w, height if wide <= own else inner_h)
    else:
        size = (width if wide < own else inner_w, height if wide >= own else inner_h)
    small = image.resize(size, Image.Resampling.LANCZOS)
    out = Image.new("RGB", (width, height))
    left, top = width // 2 - size[0] // 2, height // 2 - size[1] // 2
    out.paste(small, (left, top))
    if mode == 2 and wide < own and top > 0:
        out.paste(small.resize((width, top), box=(0, 0, width, 0)), (0, 0))
        out.paste(small.resize((width, top), box=(0, size[1], width, size[1])), (0, top + size[1]))
    if mode == 2 and wide > own and left > 0:
        out.paste(small.resize((left, height), box=(0, 0, 0, height)), (0, 0))
        out.paste(small.resize((left, height), box=(size[0], 0, size[0], height)), (left + size[0], 0))
    return out


def fitting():
    image = picture(3, 51, 34)
    keep("fit.in", image)
    for mode in range(3):
        for w, h in [(48, 48), (64, 24), (25, 49), (51, 34), (102, 68), (33, 23)]:
            keep(f"fit.{mode}.{w}x{h}", np.asarray(fit(Image.fromarray(image), mode, w, h)))


def blurring():
    for n, size in enumerate([(64, 48), (31, 57), (1, 20), (9, 1)]):
        source = mask(n, *size) if min(size) > 3 else picture(n, *size)[:, :, 0]
        keep(f"blur.{n}.in", source)
        for sigma in [1, 2, 4, 7, 16, 33]:
            size = 2 * int(2.5 * sigma + 0.5) + 1
            across = cv2.GaussianBlur(source, (size, 1), sigma)
            keep(f"blur.{n}.{sigma}.x", across.reshape(source.shape))
            keep(f"blur.{n}.{sigma}.xy", cv2.GaussianBlur(across.reshape(source.shape), (1, size), sigma).reshape(source.shape))


def float_blurring():
    source = picture(9, 40, 33)[:, :, 1].astype(np.float32)
    keep("plane.in", source)
    for sigma in [0.5, 5.0]:
        f32 = cv2.GaussianBlur(source, (0, 0), sigma)
        f64 = cv2.GaussianBlur(source.astype(np.float64), (0, 0), sigma)
        SPREAD["plane"] = max(SPREAD.get("plane", 0), float(np.abs(f32 - f64).max()))
        keep(f"plane.{sigma}", f32)


def filling():
    """A1111's `fill`: the seen part premultiplied, blurred at falling widths, laid over one another."""
    for n, size in enumerate([(72, 40), (33, 65)]):
        image, hole = picture(20 + n, *size), mask(20 + n, *size)
        hole = np.asarray(Image.fromarray(hole).filter(ImageFilter.GaussianBlur(1.5 * n)))
        keep(f"fill.{n}.in", image)
        keep(f"fill.{n}.mask", hole)
        seen = Image.new("RGBa", size)
        seen.paste(Image.fromarray(image).convert("RGBA").convert("RGBa"), mask=ImageOps.invert(Image.fromarray(hole)))
        out = Image.new("RGBA", size)
        for radius, times in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
            layer = seen.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
            for _ in range(times):
                out.alpha_composite(layer)
        keep(f"fill.{n}.out", np.asarray(out.convert("RGB")))
        layer = np.dstack([image[::-1], hole])
        keep(f"over.{n}.layer", layer)
        under = Image.fromarray(image).convert("RGBA")
        under.alpha_composite(Image.fromarray(np.ascontiguousarray(layer), "RGBA"))
        keep(f"over.{n}.out", np.asarray(under.convert("RGB")))


def area():
    image = picture(30, 90, 66)
    keep("area.in", image)
    for w, h in [(45, 33), (30, 22), (30, 33), (81, 60), (47, 31), (90, 22), (1, 1)]:
        keep(f"area.{w}x{h}", cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA))


MODES = {
    "nearest": ("nearest", False), "nearest-exact": ("nearest-exact", False), "bilinear": ("bilinear", False),
    "bilinear-antialiased": ("bilinear", True), "bicubic": ("bicubic", False), "bicubic-antialiased": ("bicubic", True),
}


def latents():
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(2, 4, 9, 12, generator=generator)
    OUT["latent.in"] = x
    for name, (mode, antialias) in MODES.items():
        for h, w in [(18, 24), (14, 17), (5, 7), (9, 31), (3, 12)]:
            extra = {"antialias": True} if antialias else {}
            f32 = torch.nn.functional.interpolate(x, size=(h, w), mode=mode, **extra)
            f64 = torch.nn.functional.interpolate(x.double(), size=(h, w), mode=mode, **extra)
            OUT[f"latent.{name}.{h}x{w}"] = f32.contiguous()
            if not name.startswith("nearest"):
                SPREAD["latent"] = max(SPREAD.get("latent", 0), (f32 - f64).abs().max().item())


def regions():
    """Boxes by numpy and by the description of the expansion, as JSON."""
    cases = []
    rng = np.random.default_rng(7)
    for n in range(40):
        width, height = (int(v) for v in rng.integers(8, 200, 2))
        x1, x2 = sorted(int(v) for v in rng.integers(0, width, 2))
        y1, y2 = sorted(int(v) for v in rng.integers(0, height, 2))
        padding = int(rng.choice([0, 4, 32]))
        found = [max(x1 - padding, 0), max(y1 - padding, 0), min(x2 + 1 + padding, width), min(y2 + 1 + padding, height)]
        frame = [int(v) for v in rng.choice([64, 96, 128, 200], 2)]
        cases.append({"image": [width, height], "corners": [x1, y1, x2, y2], "padding": padding, "region": found, "frame": frame, "expanded": expand(found, frame, [width, height])})
    (HERE / "regions.json").write_text(json.dumps(cases) + "\n")


def expand(region, frame, image):
    axis = 1 if (region[2] - region[0]) / (region[3] - region[1]) > frame[0] / frame[1] else 0
    ratio = frame[0] / frame[1]
    across = region[2 + (1 - axis)] - region[1 - axis]
    wanted = across / ratio if axis == 1 else across * ratio
    low, high = region[axis], region[2 + axis]
    more = int(wanted - (high - low))
    low, high = low - more // 2, high + more - more // 2
    over = max(high - image[axis], 0)
    low, high = low - over, high - over
    under = max(-low, 0)
    low, high = low + under, min(high + under, image[axis])
    out = list(region)
    out[axis], out[2 + axis] = low, high
    return out


for part in (resampling, fitting, blurring, float_blurring, filling, area, latents, regions):
    part()
save_file(OUT, HERE / "raster.safetensors")
(HERE / "spread.json").write_text(json.dumps(SPREAD, indent=1) + "\n")
print(SPREAD, sum(t.numel() * t.element_size() for t in OUT.values()))
