"""Trains the autoencoder on shapes, then bakes the latent scale of Stable Diffusion 1.x into its weights."""

import math
import time
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import Attention
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch.nn import functional as F

import shapes
from models import LATENT_SCALE, make_vae

SMALL_SHARE = 0.35
FIRST_LOGVAR = -4.0
RATE_HIGH, RATE_LOW = 8e-4, 4e-5
KL_WEIGHT = 5e-4
EDGE_WEIGHT = 4.0
LATENT_NOISE = 0.08


def _edges(pictures: torch.Tensor) -> torch.Tensor:
    """1 near a change of colour, else 0: flat areas are easy and would hide the outline in the mean."""
    blurred = F.avg_pool2d(F.pad(pictures, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    return ((pictures - blurred).abs().amax(dim=1, keepdim=True) > 0.05).float()


def loss_of(vae: AutoencoderKL, pictures: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Training loss and plain mean absolute error of a reconstruction from a sampled latent."""
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(pictures).latent_dist
        decoded = vae.decode(posterior.sample()).sample
    error = decoded.float() - pictures
    weight = 1 + EDGE_WEIGHT * _edges(pictures)
    pixel = (weight * (error.abs() + error.square())).sum() / (3 * weight.sum())
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return pixel + KL_WEIGHT * divergence, error.abs().mean().item()


def _batch(share: float) -> torch.Tensor:
    """Pictures of half the size for the first part of the time (four times cheaper), whole ones for the rest."""
    if share >= SMALL_SHARE:
        return shapes.render(shapes.random_scene(8))
    return F.avg_pool2d(shapes.render(shapes.random_scene(16)), 2)


@torch.no_grad()
def start_as_pooling(vae: AutoencoderKL) -> None:
    """Initial weights that pass colours straight through: average pooling down, repetition up, empty residuals.

    From the usual random start, colours take thousands of steps to find their way through all the norms.
    """
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            torch.nn.init.zeros_(module.conv2.weight)
            if module.conv_shortcut is not None:
                torch.nn.init.orthogonal_(module.conv_shortcut.weight)
        elif isinstance(module, Attention):
            torch.nn.init.zeros_(module.to_out[0].weight)
        elif isinstance(module, Downsample2D | Upsample2D):
            weight = module.conv.weight
            weight *= 0.2
            same = torch.eye(weight.shape[0])[..., None, None]
            if isinstance(module, Downsample2D):
                weight[:, :, :2, :2] += same / 4
            else:
                weight[:, :, 1:2, 1:2] += same
    torch.nn.init.orthogonal_(vae.encoder.conv_in.weight)
    torch.nn.init.orthogonal_(vae.decoder.conv_in.weight)
    # At the default variance of 1 the sampled noise would drown the first signals.
    vae.quant_conv.bias[4:] = FIRST_LOGVAR


def learning_rate(share: float, high: float, low: float, step: int, warm_up: int) -> float:
    """Linear warm-up by steps, then a cosine over the share of the time that has passed."""
    cosine = low + 0.5 * (high - low) * (1 + math.cos(math.pi * min(share, 1.0)))
    return cosine * min(1.0, (step + 1) / warm_up)


def train_vae(work: Path, minutes: float) -> None:
    """Train for the given time; goes on from ``work/vae.pt`` and writes it every 100 steps."""
    checkpoint = work / "vae.pt"
    vae, step, spent = make_vae(), 0, 0.0
    start_as_pooling(vae)
    optimiser = torch.optim.Adam(vae.parameters(), RATE_HIGH, betas=(0.9, 0.99))
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        vae.load_state_dict(saved["vae"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["spent"]
    begun = time.monotonic() - spent
    while (spent := time.monotonic() - begun) < minutes * 60:
        share = spent / (minutes * 60)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(share, RATE_HIGH, RATE_LOW, step, 50)
        loss, error = loss_of(vae, _batch(share))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        step += 1
        if step % 20 == 0:
            print(f"vae step {step} {spent:.0f}s loss {loss.item():.4f} error {error:.4f}", flush=True)
        if step % 100 == 0:
            state = {"vae": vae.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "spent": spent}
            torch.save(state, checkpoint)
    bake_scale(vae)
    torch.save({"vae": vae.state_dict(), "step": step, "spent": spent}, work / "vae-done.pt")


@torch.no_grad()
def bake_scale(vae: AutoencoderKL) -> None:
    """Rescale both quantisation convolutions so that latent * 0.18215 has mean 0 and deviation 1 per channel."""
    vae.eval()
    scenes = shapes.all_scenes()
    pictures = shapes.render(scenes).split(40)
    latents = torch.cat([vae.encode(part).latent_dist.mean for part in pictures])
    mean = latents.mean(dim=(0, 2, 3))
    scale = latents.std(dim=(0, 2, 3)) * LATENT_SCALE
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:4] /= scale.view(-1, 1, 1, 1)
    before.bias[:4] = (before.bias[:4] - mean) / scale
    before.bias[4:] -= 2 * scale.log()
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= scale.view(1, -1, 1, 1)


def _decoder_loss(vae: AutoencoderKL, pictures: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Reconstruction loss from slightly disturbed latents of the frozen encoder."""
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            latents = vae.encode(pictures).latent_dist.mean.float()
            latents += torch.randn_like(latents) * (LATENT_NOISE / LATENT_SCALE)
        decoded = vae.decode(latents).sample
    error = decoded.float() - pictures
    weight = 1 + EDGE_WEIGHT * _edges(pictures)
    return (weight * (error.abs() + error.square())).sum() / (3 * weight.sum()), error.abs().mean().item()


def refine_decoder(work: Path, minutes: float) -> None:
    """Train the decoder alone for sharper pictures; the latents, and with them the UNet, stay as they are."""
    checkpoint, step, spent = work / "refine.pt", 0, 0.0
    vae = load_vae(work)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    weights = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    optimiser = torch.optim.Adam(weights, RATE_HIGH, betas=(0.9, 0.99))
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        vae.load_state_dict(saved["vae"])
        optimiser.load_state_dict(saved["optimiser"])
        step, spent = saved["step"], saved["spent"]
    begun = time.monotonic() - spent
    while (spent := time.monotonic() - begun) < minutes * 60:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(spent / (minutes * 60), 0.75 * RATE_HIGH, RATE_LOW / 4, step, 30)
        loss, error = _decoder_loss(vae, shapes.render(shapes.random_scene(8)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        step += 1
        if step % 20 == 0:
            print(f"decoder step {step} {spent:.0f}s loss {loss.item():.4f} error {error:.4f}", flush=True)
            state = {"vae": vae.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "spent": spent}
            torch.save(state, checkpoint)
    torch.save({"vae": vae.state_dict(), "step": step, "spent": spent}, work / "vae-refined.pt")


def load_vae(work: Path) -> AutoencoderKL:
    """The trained autoencoder with the scale baked in, refined if that was done."""
    refined = work / "vae-refined.pt"
    vae = make_vae()
    path = refined if refined.exists() else work / "vae-done.pt"
    vae.load_state_dict(torch.load(path, weights_only=True)["vae"])
    return vae.eval()
