"""Trains the text encoder alone, to tell colour, shape and background of a caption; it is frozen afterwards.

Stable Diffusion 1.x takes its text encoder ready-made from CLIP, too. What is learned here is the meaning of the words
in their places; which picture belongs to it is learned by the UNet.
"""

import random
from pathlib import Path

import torch
from torch.nn import functional as F
from transformers import CLIPTextModel

import shapes
from models import TEXT_WIDTH, make_text_encoder
from tokenizer import EOS, encode

BATCH = 32
STEPS = 400
RATE = 3e-3
UNSAID = 8


def _labels(caption: str) -> tuple[int, int, int]:
    """Colour, shape and background that a caption names; a background that is not named counts as one of its own."""
    words = caption.replace(",", " ").split()
    colours = [shapes.NAMES.index(word) for word in words if word in shapes.COLOURS]
    shape = next(i for i, name in enumerate(shapes.SHAPES) if name in words)
    return colours[0], shape, colours[1] if len(colours) > 1 else UNSAID


def _captions(rng: random.Random) -> list[str]:
    scene = shapes.random_scene(BATCH)
    triples = zip(scene.colour.tolist(), scene.shape.tolist(), scene.background.tolist(), strict=True)
    return [shapes.random_caption(*triple, rng) for triple in triples]


def train_text(work: Path) -> None:
    """Train by classification from every position at which the caption has been read to its end."""
    torch.manual_seed(3)
    text, heads = make_text_encoder(), torch.nn.Linear(TEXT_WIDTH, 8 + 5 + 9)
    optimiser = torch.optim.Adam([*text.parameters(), *heads.parameters()], RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, STEPS, pct_start=0.1)
    rng = random.Random(3)
    for step in range(STEPS):
        captions = _captions(rng)
        tokens = torch.tensor([encode(caption) for caption in captions])
        wanted = torch.tensor([_labels(caption) for caption in captions])
        parts = heads(text(tokens).last_hidden_state).split((8, 5, 9), dim=-1)
        ended = tokens == EOS
        losses, right = [], torch.ones_like(ended)
        for part, target in zip(parts, wanted.T, strict=True):
            spread = target[:, None].expand_as(ended)
            losses.append(F.cross_entropy(part[ended], spread[ended]))
            right &= part.argmax(dim=-1) == spread
        loss = torch.stack(losses).sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(text.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        if step % 20 == 19:
            print(f"text step {step + 1} loss {loss.item():.3f} right {right[ended].float().mean():.3f}", flush=True)
    torch.save(text.state_dict(), work / "text-done.pt")


def load_text(work: Path) -> CLIPTextModel:
    """The trained text encoder."""
    text = make_text_encoder()
    text.load_state_dict(torch.load(work / "text-done.pt", weights_only=True))
    return text.eval().requires_grad_(False)
