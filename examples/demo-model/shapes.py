"""Synthetic captioned pictures: one plain shape on a plain background, rendered with torch."""

import math
import random
from dataclasses import dataclass

import torch

SIZE = 64
COLOURS = {
    "red": (230, 30, 30),
    "green": (30, 165, 50),
    "blue": (35, 65, 225),
    "yellow": (250, 225, 40),
    "orange": (250, 135, 20),
    "purple": (140, 40, 170),
    "white": (245, 245, 245),
    "black": (15, 15, 15),
}
SHAPES = ("circle", "square", "triangle", "star", "cross")
NAMES = tuple(COLOURS)
PALETTE = torch.tensor([COLOURS[name] for name in NAMES], dtype=torch.float32) / 127.5 - 1
COLOUR_JITTER = 8 / 127.5


@dataclass
class Scene:
    """Indices into ``NAMES`` and ``SHAPES`` for a batch of pictures, each a tensor of one dimension."""

    colour: torch.Tensor
    shape: torch.Tensor
    background: torch.Tensor


def random_scene(count: int, generator: torch.Generator | None = None) -> Scene:
    """Draw scenes uniformly; the background always differs from the shape's colour."""
    colour = torch.randint(len(NAMES), (count,), generator=generator)
    shift = torch.randint(1, len(NAMES), (count,), generator=generator)
    shape = torch.randint(len(SHAPES), (count,), generator=generator)
    return Scene(colour, shape, (colour + shift) % len(NAMES))


def all_scenes() -> Scene:
    """Every combination of colour, shape and a different background (8 x 5 x 7 = 280)."""
    triples = [(c, s, b) for c in range(len(NAMES)) for s in range(len(SHAPES)) for b in range(len(NAMES)) if b != c]
    columns = torch.tensor(triples).T
    return Scene(columns[0], columns[1], columns[2])


def _uniform(count: int, low: float, high: float, generator: torch.Generator | None) -> torch.Tensor:
    return (low + (high - low) * torch.rand(count, generator=generator)).view(-1, 1, 1)


def _polygon_distance(x: torch.Tensor, y: torch.Tensor, sides: int, inner: float) -> torch.Tensor:
    """Half-plane distance to a (star) polygon of unit radius with a corner at the top, after folding the angle."""
    sector = math.pi / sides
    angle = torch.atan2(x, -y)
    folded = (torch.remainder(angle + sector, 2 * sector) - sector).abs()
    radius = torch.sqrt(x * x + y * y)
    u, v = radius * torch.cos(folded), radius * torch.sin(folded)
    # The edge runs from the corner (1, 0) to the inner corner at the angle `sector`.
    edge_u, edge_v = inner * math.cos(sector) - 1, inner * math.sin(sector)
    length = math.hypot(edge_u, edge_v)
    return ((u - 1) * edge_v - v * edge_u) / length


def _distances(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """Signed distance (in units of the shape's radius, negative inside) for each name in ``SHAPES``."""
    circle = torch.sqrt(x * x + y * y) - 0.95
    square = torch.maximum(x.abs(), y.abs()) - 0.82
    triangle = _polygon_distance(x / 1.15, (y - 0.12) / 1.15, 3, 0.5) * 1.15
    star = _polygon_distance(x / 1.15, y / 1.15, 5, 0.42) * 1.15
    arm = 0.3
    upright = torch.maximum(x.abs() - arm, y.abs() - 1.0)
    level = torch.maximum(x.abs() - 1.0, y.abs() - arm)
    return [circle, square, triangle, star, torch.minimum(upright, level)]


def masks(shape: torch.Tensor, generator: torch.Generator | None = None, jitter: bool = True) -> torch.Tensor:
    """Anti-aliased coverage masks [count, SIZE, SIZE] in 0..1, jittered in place, size and angle."""
    count = len(shape)
    amount = 1.0 if jitter else 0.0
    centre_x = SIZE / 2 + amount * _uniform(count, -4, 4, generator)
    centre_y = SIZE / 2 + amount * _uniform(count, -4, 4, generator)
    radius = 19 + amount * _uniform(count, -3, 3, generator)
    angle = amount * _uniform(count, -0.1, 0.1, generator)
    axis = torch.arange(SIZE) + 0.5
    dx, dy = axis.view(1, 1, -1) - centre_x, axis.view(1, -1, 1) - centre_y
    x = (dx * torch.cos(angle) + dy * torch.sin(angle)) / radius
    y = (dy * torch.cos(angle) - dx * torch.sin(angle)) / radius
    stacked = torch.stack(_distances(x, y), dim=1)
    chosen = stacked[torch.arange(count), shape]
    return (0.5 - chosen * radius).clamp(0, 1)


def render(scene: Scene, generator: torch.Generator | None = None, jitter: bool = True) -> torch.Tensor:
    """Pictures [count, 3, SIZE, SIZE] in -1..1."""
    count = len(scene.shape)
    mask = masks(scene.shape, generator, jitter)[:, None]
    spread = COLOUR_JITTER if jitter else 0.0
    front = PALETTE[scene.colour] + spread * (2 * torch.rand(count, 3, generator=generator) - 1)
    back = PALETTE[scene.background] + spread * (2 * torch.rand(count, 3, generator=generator) - 1)
    return (mask * front[..., None, None] + (1 - mask) * back[..., None, None]).clamp(-1, 1)


def _article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def prompt(colour: int, shape: int, background: int) -> str:
    """The canonical caption of a scene."""
    return f"{_article(NAMES[colour])} {SHAPES[shape]} on {_article(NAMES[background])} background"


def random_caption(colour: int, shape: int, background: int, rng: random.Random) -> str:
    """One of several ways to say the same; some leave a detail out, which the picture then chooses freely."""
    front, back = NAMES[colour], NAMES[background]
    thing = f"{front} {SHAPES[shape]}"
    forms = (
        (8, prompt(colour, shape, background)),
        (2, f"{thing}, {back} background"),
        (2, f"{thing} on {_article(back)} background"),
        (2, f"a picture of {_article(thing)} on {_article(back)} background"),
        (2, f"{_article(thing)} on {back}"),
        (1, f"{_article(thing)}, {back} background"),
        (1, _article(thing)),
    )
    return rng.choices([text for _, text in forms], [weight for weight, _ in forms])[0]
