"""Samples the exported file and scores the pictures: are colour, background and shape the ones asked for?"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import CLIPTextModel

import export
import shapes
from diffusion import context
from models import LATENT_SCALE, make_scheduler, make_text_encoder, make_unet, make_vae

TOLERANCE = 60 / 127.5
GRID = 32
GUIDANCE = 5.0
BATCH = 35


@dataclass
class Networks:
    """The three networks in single precision."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text: CLIPTextModel


def load(path: Path) -> Networks:
    """Read an exported file back; every weight of every network has to be in it, with its shape."""
    weights = load_file(path)
    networks = Networks(make_vae().eval(), make_unet().eval(), make_text_encoder().eval())

    def restored(module: torch.nn.Module, key_of) -> dict[str, torch.Tensor]:
        return {name: weights.pop(key_of(name)).float().reshape(w.shape) for name, w in module.state_dict().items()}

    networks.unet.load_state_dict(restored(networks.unet, lambda name: export.UNET_PREFIX + export.unet_key(name)))
    networks.vae.load_state_dict(restored(networks.vae, lambda name: export.VAE_PREFIX + export.vae_key(name)))
    networks.text.load_state_dict(
        restored(networks.text, lambda name: export.TEXT_PREFIX + name.removeprefix("text_model."))
    )
    if weights:
        raise ValueError(f"weights that belong to no network: {sorted(weights)[:3]}")
    return networks


@torch.no_grad()
def sample(networks: Networks, prompts: list[str], guidance: float, steps: int, seed: int) -> torch.Tensor:
    """Pictures [count, 3, 64, 64] in -1..1 by DDIM with classifier-free guidance."""
    scheduler = make_scheduler()
    scheduler.set_timesteps(steps)
    states = torch.cat([context(networks.text, [""] * len(prompts)), context(networks.text, prompts)])
    side = shapes.SIZE // 8
    latents = torch.randn(len(prompts), 4, side, side, generator=torch.Generator().manual_seed(seed))
    for step in scheduler.timesteps:
        without, asked = networks.unet(torch.cat([latents, latents]), step, states).sample.chunk(2)
        latents = scheduler.step(without + guidance * (asked - without), step, latents).prev_sample
    return networks.vae.decode(latents / LATENT_SCALE).sample.clamp(-1, 1)


def _corners(pictures: torch.Tensor) -> torch.Tensor:
    """Mean colours of the four 6x6 corners [count, 4, 3]."""
    parts = [pictures[:, :, y, x] for y in (slice(0, 6), slice(-6, None)) for x in (slice(0, 6), slice(-6, None))]
    return torch.stack([part.mean(dim=(2, 3)) for part in parts], dim=1)


def colour_hits(pictures: torch.Tensor, scene: shapes.Scene) -> tuple[torch.Tensor, torch.Tensor]:
    """Whether the centre and all four corners are within tolerance of the asked colours."""
    centre = pictures[:, :, 28:36, 28:36].mean(dim=(2, 3))
    front = (centre - shapes.PALETTE[scene.colour]).abs().amax(dim=1) < TOLERANCE
    back = (_corners(pictures) - shapes.PALETTE[scene.background][:, None]).abs().amax(dim=(1, 2)) < TOLERANCE
    return front, back


def _cropped(mask: torch.Tensor) -> torch.Tensor:
    """A mask cut to its own outline and brought to one size; empty masks stay empty."""
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    if len(rows) == 0:
        return torch.zeros(GRID, GRID)
    cut = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return F.interpolate(cut[None, None].float(), (GRID, GRID), mode="bilinear")[0, 0]


def shape_of(pictures: torch.Tensor, scene: shapes.Scene) -> torch.Tensor:
    """Index of the shape whose outline overlaps best with the pixels nearer to the asked colour than to the back."""
    front = shapes.PALETTE[scene.colour][..., None, None]
    back = shapes.PALETTE[scene.background][..., None, None]
    inside = (pictures - front).square().sum(dim=1) < (pictures - back).square().sum(dim=1)
    outlines = torch.stack(
        [_cropped(mask > 0.5) for mask in shapes.masks(torch.arange(len(shapes.SHAPES)), jitter=False)]
    )
    found = torch.stack([_cropped(mask) for mask in inside])[:, None]
    overlap = torch.minimum(found, outlines).sum(dim=(2, 3)) / torch.maximum(found, outlines).sum(dim=(2, 3))
    return overlap.argmax(dim=1)


def _shares(hits: torch.Tensor, index: torch.Tensor, names: tuple[str, ...]) -> dict[str, float]:
    return {name: round(hits[index == i].float().mean().item(), 3) for i, name in enumerate(names)}


Triple = tuple[int, int, int]


def score(
    networks: Networks, triples: list[Triple], guidance: float, steps: int, seed: int
) -> tuple[torch.Tensor, dict]:
    """Pictures of the given scenes and the shares that came out as asked: whole, by colour, background and shape."""
    scene = shapes.Scene(*torch.tensor(triples).T)
    prompts = [shapes.prompt(*triple) for triple in triples]
    parts = [
        sample(networks, prompts[start : start + BATCH], guidance, steps, seed + start)
        for start in range(0, len(prompts), BATCH)
    ]
    pictures = torch.cat(parts)
    front, back = colour_hits(pictures, scene)
    shape = shape_of(pictures, scene) == scene.shape
    right = front & back & shape
    shares = {
        "pictures": len(triples),
        "guidance": guidance,
        "steps": steps,
        "colours": round((front & back).float().mean().item(), 3),
        "shape": round(shape.float().mean().item(), 3),
        "all": round(right.float().mean().item(), 3),
        "by colour": _shares(front, scene.colour, shapes.NAMES),
        "by background": _shares(back, scene.background, shapes.NAMES),
        "by shape": _shares(shape, scene.shape, shapes.SHAPES),
        "wrong": [text for text, good in zip(prompts, right.tolist(), strict=True) if not good],
    }
    return pictures, shares


def save_grid(pictures: torch.Tensor, path: Path, columns: int = 8) -> None:
    """Write pictures as one PNG with a thin white gap."""
    count, _, height, width = pictures.shape
    sheet = Image.new("RGB", (columns * (width + 2), -(-count // columns) * (height + 2)), "white")
    pixels = ((pictures + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    for i, picture in enumerate(pixels):
        sheet.paste(Image.fromarray(picture), ((i % columns) * (width + 2), (i // columns) * (height + 2)))
    sheet.save(path, optimize=True)


def grid_scenes() -> list[tuple[int, int, int]]:
    """Forty scenes for a sheet: a row per shape, a column per colour, backgrounds taken in turn."""
    return [(c, s, (c + 1 + (s + 2 * c) % 7) % 8) for s in range(len(shapes.SHAPES)) for c in range(8)]


def preview(path: Path, work: Path) -> None:
    """A quick look at an unfinished model: twenty pictures in ``preview.png`` and the share of right ones."""
    triples = grid_scenes()[::2]
    pictures = sample(load(path), [shapes.prompt(*triple) for triple in triples], 5.0, 20, 7)
    save_grid(pictures, work / "preview.png", 10)
    scene = shapes.Scene(*torch.tensor(triples).T)
    front, back = colour_hits(pictures, scene)
    shape = shape_of(pictures, scene) == scene.shape
    shares = [round(hits.float().mean().item(), 2) for hits in (front, back, front & back, shape)]
    print(f"preview: colour, background, both, shape {shares}", flush=True)


def evaluate(path: Path, work: Path, steps: int = 20, seed: int = 7, whole: bool = False) -> None:
    """Write ``grid.png`` and ``score.json`` of forty scenes into the work folder; ``whole`` scores all 280 as well."""
    networks = load(path)
    pictures, shares = score(networks, grid_scenes(), GUIDANCE, steps, seed)
    save_grid(pictures, work / "grid.png")
    scores = [shares]
    if whole:
        scene = shapes.all_scenes()
        triples = list(zip(scene.colour.tolist(), scene.shape.tolist(), scene.background.tolist(), strict=True))
        scores += [score(networks, triples, guidance, steps, seed)[1] for guidance in (GUIDANCE, 3.0, 7.5)]
    (work / "score.json").write_text(json.dumps(scores, indent=1) + "\n")
    for entry in scores:
        print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--work", type=Path, default=Path("."))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--whole", action="store_true", help="score all 280 combinations, at three guidances")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    evaluate(given.file, given.work, given.steps, whole=given.whole)
