"""Trains the UNet on cached latents and the frozen text encoder, as Stable Diffusion 1.x is (noise prediction)."""

import random
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch.nn import functional as F
from transformers import CLIPTextModel

import shapes
from models import LATENT_SCALE, alphas_cumprod, make_unet
from text import load_text
from tokenizer import encode
from vae import learning_rate, load_vae

BATCH = 32
PICTURES = 5_000
EMPTY_SHARE = 0.1
COARSE_SHARE = 0.15
SNR_LIMIT = 5.0
AVERAGE = 0.999
RATE_HIGH, RATE_LOW = 1.5e-3, 1e-5


@torch.no_grad()
def start_as_identity(unet: UNet2DConditionModel) -> None:
    """Empty residual branches and a zero output, as the original implementation starts: it learns much sooner."""
    for module in unet.modules():
        if isinstance(module, ResnetBlock2D):
            torch.nn.init.zeros_(module.conv2.weight)
        elif isinstance(module, Transformer2DModel):
            torch.nn.init.zeros_(module.proj_out.weight)
    torch.nn.init.zeros_(unet.conv_out.weight)


class Latents:
    """A cache of encoded pictures with their scenes; encoding on the fly would cost more than the UNet."""

    def __init__(self, work: Path) -> None:
        path = work / "latents.pt"
        if not path.exists():
            torch.save(self._make(work), path)
        saved = torch.load(path, weights_only=True)
        self.latents, self.scenes = saved["latents"], saved["scenes"]

    @staticmethod
    @torch.no_grad()
    def _make(work: Path) -> dict[str, torch.Tensor]:
        vae = load_vae(work)
        latents, scenes = [], []
        for start in range(0, PICTURES, 100):
            scene = shapes.random_scene(100)
            with torch.autocast("cpu", torch.bfloat16):
                mean = vae.encode(shapes.render(scene)).latent_dist.mean
            latents.append(mean.float() * LATENT_SCALE)
            scenes.append(torch.stack([scene.colour, scene.shape, scene.background], dim=1))
            if start % 1000 == 0:
                print(f"encoded {start}", flush=True)
        return {"latents": torch.cat(latents), "scenes": torch.cat(scenes)}

    def batch(self, rng: random.Random, share: float) -> tuple[torch.Tensor, list[str]]:
        """Latents and freshly worded captions; coarse latents for the first part of the time, to learn the colours."""
        chosen = torch.randint(len(self.latents), (BATCH,))
        captions = [
            "" if rng.random() < EMPTY_SHARE else shapes.random_caption(*scene, rng)
            for scene in self.scenes[chosen].tolist()
        ]
        latents = self.latents[chosen]
        return F.avg_pool2d(latents, 2) if share < COARSE_SHARE else latents, captions


def context(text: CLIPTextModel, captions: list[str]) -> torch.Tensor:
    """Last hidden state of each caption; equal captions are computed once."""
    unique = sorted(set(captions))
    place = {caption: i for i, caption in enumerate(unique)}
    states = text(torch.tensor([encode(caption) for caption in unique])).last_hidden_state
    return states[torch.tensor([place[caption] for caption in captions])]


def loss_of(
    unet: UNet2DConditionModel, states: torch.Tensor, latents: torch.Tensor, alphas: torch.Tensor
) -> torch.Tensor:
    """Squared error of the predicted noise, weighted by min-SNR."""
    count = len(latents)
    # Evenly spread steps lower the variance of the loss from batch to batch.
    steps = ((torch.arange(count) + torch.rand(count)) * (len(alphas) / count)).long().clamp(max=len(alphas) - 1)
    alpha = alphas[steps].view(-1, 1, 1, 1)
    noise = torch.randn_like(latents)
    predicted = unet(alpha.sqrt() * latents + (1 - alpha).sqrt() * noise, steps, states).sample
    ratio = (alpha / (1 - alpha)).flatten()
    weight = ratio.clamp(max=SNR_LIMIT) / ratio
    return (weight * (predicted - noise).square().mean(dim=(1, 2, 3))).mean()


class Contexts:
    """Hidden states of captions, computed once each: the text encoder no longer changes."""

    def __init__(self, text: CLIPTextModel) -> None:
        self.text, self.known = text, {}

    @torch.no_grad()
    def __call__(self, captions: list[str]) -> torch.Tensor:
        """Hidden states of a batch of captions."""
        new = sorted(set(captions) - self.known.keys())
        if new:
            self.known.update(zip(new, context(self.text, new), strict=True))
        return torch.stack([self.known[caption] for caption in captions])


class Run:
    """UNet, optimiser, averages and counters of a run that can be interrupted."""

    def __init__(self, work: Path) -> None:
        self.path = work / "diffusion.pt"
        self.unet = make_unet()
        start_as_identity(self.unet)
        self.average = [weight.detach().clone() for weight in self.unet.parameters()]
        self.optimiser = torch.optim.AdamW(
            self.unet.parameters(), RATE_HIGH, betas=(0.9, 0.99), weight_decay=0.0, fused=True
        )
        self.step, self.spent = 0, 0.0
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.unet.load_state_dict(saved["unet"])
            self.average = saved["average"]
            saved["optimiser"]["param_groups"][0].update(fused=True, foreach=None)
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.spent = saved["step"], saved["spent"]

    def save(self) -> None:
        """Write the checkpoint by a rename."""
        partial = self.path.with_suffix(".partial")
        state = {
            "unet": self.unet.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "spent": self.spent,
        }
        torch.save(state, partial)
        partial.rename(self.path)

    def advance(self, latents: torch.Tensor, states: torch.Tensor, alphas: torch.Tensor, share: float) -> float:
        """One optimiser step, and the moving average of the weights, which is faster at the beginning."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(share, RATE_HIGH, RATE_LOW, self.step, 50)
        loss = loss_of(self.unet, states, latents, alphas)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.unet.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        decay = min(AVERAGE, (1 + self.step) / (20 + self.step))
        torch._foreach_lerp_(self.average, [weight.detach() for weight in self.unet.parameters()], 1 - decay)
        return loss.item()


def train_diffusion(work: Path, minutes: float, on_milestone: Callable[[], None]) -> None:
    """Train for the given time; goes on from ``work/diffusion.pt``, writes it every 25 steps, reports every 400."""
    cache, run, alphas = Latents(work), Run(work), alphas_cumprod()
    contexts, rng = Contexts(load_text(work)), random.Random(run.step)
    begun, losses = time.monotonic() - run.spent, []
    while (spent := time.monotonic() - begun) < minutes * 60:
        share = spent / (minutes * 60)
        latents, captions = cache.batch(rng, share)
        losses.append(run.advance(latents, contexts(captions), alphas, share))
        run.spent = spent
        if run.step % 25 == 0:
            print(f"unet step {run.step} {spent:.0f}s loss {sum(losses) / len(losses):.4f}", flush=True)
            losses.clear()
            run.save()
        if run.step % 400 == 0:
            on_milestone()
    run.save()


def load_unet(work: Path) -> UNet2DConditionModel:
    """The UNet with the averaged weights of the last checkpoint."""
    unet = make_unet()
    saved = torch.load(work / "diffusion.pt", weights_only=True)["average"]
    with torch.no_grad():
        for weight, average in zip(unet.parameters(), saved, strict=True):
            weight.copy_(average)
    return unet.eval()
