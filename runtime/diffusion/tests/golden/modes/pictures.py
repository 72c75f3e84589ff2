"""What the web UI does to pictures and masks around the model, with Pillow and OpenCV."""

import cv2
import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps

LANCZOS = Image.Resampling.LANCZOS


def source(width, height):
    """A picture with gradients, an edge and a disc."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    red = 255 * x / (width - 1)
    green = 255 * y / (height - 1)
    blue = np.where((x - width * 0.6) ** 2 + (y - height * 0.4) ** 2 < (0.25 * height) ** 2, 220, 40)
    red[:, : width // 4] = 30
    return Image.fromarray(np.stack([red, green, blue], -1).round().astype(np.uint8), "RGB")


def mask(width, height):
    drawn = np.zeros((height, width), np.uint8)
    drawn[height // 4 : height * 5 // 8, width * 3 // 8 : width * 3 // 4] = 255
    return Image.fromarray(drawn, "L")


def fit(image, width, height, mode):
    """0 stretches, 1 fills the frame and cuts, 2 shows all and repeats the edges."""
    if mode == 0:
        return image.resize((width, height), LANCZOS)
    wider = width / height > image.width / image.height
    if mode == 1:
        size = (width, image.height * width // image.width) if wider else (image.width * height // image.height, height)
    else:
        size = (image.width * height // image.height, height) if wider else (width, image.height * width // image.width)
    small = image.resize(size, LANCZOS)
    frame = Image.new(image.mode, (width, height))
    left, top = width // 2 - size[0] // 2, height // 2 - size[1] // 2
    frame.paste(small, (left, top))
    if mode == 2 and wider and left > 0:
        frame.paste(small.resize((left, height), box=(0, 0, 0, height)), (0, 0))
        frame.paste(small.resize((left, height), box=(size[0], 0, size[0], height)), (left + size[0], 0))
    elif mode == 2 and top > 0:
        frame.paste(small.resize((width, top), box=(0, 0, width, 0)), (0, 0))
        frame.paste(small.resize((width, top), box=(0, size[1], width, size[1])), (0, top + size[1]))
    return frame


def blur(image, sigma):
    kernel = 2 * int(2.5 * sigma + 0.5) + 1
    out = cv2.GaussianBlur(np.array(image), (kernel, 1), sigma)
    return Image.fromarray(cv2.GaussianBlur(out, (1, kernel), sigma))


def region(image, padding, width, height):
    left, top, right, bottom = image.getbbox()
    left, top = max(left - padding, 0), max(top - padding, 0)
    right, bottom = min(right + padding, image.width), min(bottom + padding, image.height)
    ratio = width / height

    def grow(low, high, wanted, limit):
        more = int(wanted - (high - low))
        low -= more // 2
        high += more - more // 2
        if high >= limit:
            low, high = low - (high - limit), limit
        if low < 0:
            low, high = 0, high - low
        return low, min(high, limit)

    if (right - left) / (bottom - top) > ratio:
        top, bottom = grow(top, bottom, (right - left) / ratio, image.height)
    else:
        left, right = grow(left, right, (bottom - top) * ratio, image.width)
    return left, top, right, bottom


def unmasked(image, covered):
    """What a mask leaves, premultiplied."""
    layer = Image.new("RGBa", image.size)
    layer.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(covered))
    return layer


def fill(image, covered):
    smeared, layer = Image.new("RGBA", image.size), unmasked(image, covered)
    for radius, times in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        far = layer.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            smeared.alpha_composite(far)
    return smeared.convert("RGB")


def overlay(result, layer, place):
    if place is not None:
        left, top, right, bottom = place
        canvas = Image.new("RGBA", layer.size)
        canvas.paste(fit(result, right - left, bottom - top, 1), (left, top))
        result = canvas
    result = result.convert("RGBA")
    result.alpha_composite(layer)
    return result.convert("RGB")


def to_pixels(image):
    return torch.from_numpy(np.array(image).astype(np.float32) / 255).permute(2, 0, 1)[None] * 2 - 1


def to_image(pixels):
    levels = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).numpy(), "RGB")


def levels(image):
    return torch.from_numpy(np.array(image).copy())
