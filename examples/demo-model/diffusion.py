"""Trains UNet and text encoder together on cached latents, as Stable Diffusion 1.x is trained (noise prediction)."""

import random
import time
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel

import shapes
from models import LATENT_SCALE, alphas_cumprod, make_text_encoder, make_unet
from tokenizer import encode
from vae import learning_rate, load_vae

BATCH = 64
PICTURES = 20_000
EMPTY_SHARE = 0.1
SNR_LIMIT = 5.0
AVERAGE = 0.999
RATE_HIGH, RATE_LOW = 1e-3, 1e-5


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
            if start % 2000 == 0:
                print(f"encoded {start}", flush=True)
        return {"latents": torch.cat(latents), "scenes": torch.cat(scenes)}

    def batch(self, rng: random.Random) -> tuple[torch.Tensor, list[str]]:
        """Latents and freshly worded captions."""
        chosen = torch.randint(len(self.latents), (BATCH,))
        captions = [
            "" if rng.random() < EMPTY_SHARE else shapes.random_caption(*scene, rng)
            for scene in self.scenes[chosen].tolist()
        ]
        return self.latents[chosen], captions


def context(text: CLIPTextModel, captions: list[str]) -> torch.Tensor:
    """Last hidden state of each caption; equal captions are computed once."""
    unique = sorted(set(captions))
    place = {caption: i for i, caption in enumerate(unique)}
    states = text(torch.tensor([encode(caption) for caption in unique])).last_hidden_state
    return states[torch.tensor([place[caption] for caption in captions])]


def loss_of(unet: UNet2DConditionModel, states: torch.Tensor, latents: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
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


def _average(kept: dict[str, torch.Tensor], module: torch.nn.Module, step: int) -> None:
    """Exponential moving average of the weights, faster at the beginning."""
    decay = min(AVERAGE, (1 + step) / (20 + step))
    for name, weight in module.state_dict().items():
        if weight.is_floating_point():
            kept[name].lerp_(weight, 1 - decay)


class Run:
    """Networks, optimiser, averages and counters of a run that can be interrupted."""

    def __init__(self, work: Path) -> None:
        self.path = work / "diffusion.pt"
        self.networks = torch.nn.ModuleDict({"unet": make_unet(), "text": make_text_encoder()})
        self.average = {name: weight.clone() for name, weight in self.networks.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.networks.parameters(), RATE_HIGH, betas=(0.9, 0.99), weight_decay=0.0
        )
        self.step, self.spent = 0, 0.0
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True)
            self.networks.load_state_dict(saved["networks"])
            self.average = saved["average"]
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step, self.spent = saved["step"], saved["spent"]

    def save(self) -> None:
        """Write the checkpoint by a rename."""
        partial = self.path.with_suffix(".partial")
        state = {
            "networks": self.networks.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "spent": self.spent,
        }
        torch.save(state, partial)
        partial.rename(self.path)

    def advance(self, latents: torch.Tensor, captions: list[str], alphas: torch.Tensor, share: float) -> float:
        """One optimiser step."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(share, RATE_HIGH, RATE_LOW, self.step, 100)
        loss = loss_of(self.networks["unet"], context(self.networks["text"], captions), latents, alphas)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.networks.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.step += 1
        _average(self.average, self.networks, self.step)
        return loss.item()


def train_diffusion(work: Path, minutes: float) -> None:
    """Train for the given time; goes on from ``work/diffusion.pt`` and writes it every 250 steps."""
    cache, run, alphas = Latents(work), Run(work), alphas_cumprod()
    rng = random.Random(run.step)
    begun, losses = time.monotonic() - run.spent, []
    while (spent := time.monotonic() - begun) < minutes * 60:
        losses.append(run.advance(*cache.batch(rng), alphas, spent / (minutes * 60)))
        run.spent = spent
        if run.step % 50 == 0:
            print(f"unet step {run.step} {spent:.0f}s loss {sum(losses) / len(losses):.4f}", flush=True)
            losses.clear()
        if run.step % 250 == 0:
            run.save()
    run.save()


def load_networks(work: Path) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """UNet and text encoder with the averaged weights of the last checkpoint."""
    networks = torch.nn.ModuleDict({"unet": make_unet(), "text": make_text_encoder()})
    networks.load_state_dict(torch.load(work / "diffusion.pt", weights_only=True)["average"])
    return networks["unet"].eval(), networks["text"].eval()
