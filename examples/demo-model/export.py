"""Writes the three networks as one half-precision file in the key layout of Stable Diffusion 1.x checkpoints."""

import re
from pathlib import Path

import torch
from safetensors.torch import save_file

from diffusion import load_unet
from text import load_text
from vae import load_vae

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."
TEXT_PREFIX = "cond_stage_model.transformer.text_model."
LEVELS = 4
UNET_LAYERS = 2
METADATA = {
    "format": "pt",
    "modelspec.sai_model_spec": "1.0.0",
    "modelspec.architecture": "stable-diffusion-v1",
    "modelspec.implementation": "https://github.com/CompVis/stable-diffusion",
    "modelspec.title": "Easel demo shapes",
    "modelspec.author": "The Easel authors",
    "modelspec.license": "Apache-2.0",
    "modelspec.description": "A toy Stable Diffusion 1.x that draws one coloured shape on a coloured background.",
    "modelspec.resolution": "64x64",
    "modelspec.prediction_type": "epsilon",
    "modelspec.usage_hint": "a red circle on a blue background",
}
RESNET_UNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
FIXED_UNET = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
ATTENTION_VAE = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _resnet_unet(rest: str) -> str:
    part, leaf = rest.rsplit(".", 1)
    return f"{RESNET_UNET[part]}.{leaf}"


def _unet_member(kind: str, rest: str, block: str, index: int) -> str:
    """Name inside a numbered block: residual layer first, transformer behind it."""
    if kind == "resnets":
        return f"{block}.{0 if block != 'middle_block' else 2 * index}.{_resnet_unet(rest)}"
    return f"{block}.1.{rest}"


def unet_key(name: str) -> str:
    """Checkpoint name (without prefix) of a diffusers UNet weight."""
    part, leaf = name.rsplit(".", 1)
    if part in FIXED_UNET:
        return f"{FIXED_UNET[part]}.{leaf}"
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
        return _unet_member(found[1], found[3], "middle_block", int(found[2]))
    if found := re.fullmatch(r"down_blocks\.(\d)\.(resnets|attentions)\.(\d)\.(.+)", name):
        number = 1 + int(found[1]) * (UNET_LAYERS + 1) + int(found[3])
        return _unet_member(found[2], found[4], f"input_blocks.{number}", 0)
    if found := re.fullmatch(r"down_blocks\.(\d)\.downsamplers\.0\.conv\.(.+)", name):
        return f"input_blocks.{(int(found[1]) + 1) * (UNET_LAYERS + 1)}.0.op.{found[2]}"
    if found := re.fullmatch(r"up_blocks\.(\d)\.(resnets|attentions)\.(\d)\.(.+)", name):
        number = int(found[1]) * (UNET_LAYERS + 1) + int(found[3])
        return _unet_member(found[2], found[4], f"output_blocks.{number}", 0)
    if found := re.fullmatch(r"up_blocks\.(\d)\.upsamplers\.0\.conv\.(.+)", name):
        # The deepest up block has no transformer, so its upsampler takes the place 1 instead of 2.
        place = 1 if found[1] == "0" else 2
        return f"output_blocks.{(int(found[1]) + 1) * (UNET_LAYERS + 1) - 1}.{place}.conv.{found[2]}"
    raise ValueError(f"unknown UNet weight {name}")


def vae_key(name: str) -> str:
    """Checkpoint name (without prefix) of a diffusers autoencoder weight."""
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    if found := re.fullmatch(r"(encoder|decoder)\.mid_block\.resnets\.(\d)\.(.+)", name):
        return f"{found[1]}.mid.block_{int(found[2]) + 1}.{found[3]}"
    if found := re.fullmatch(r"(encoder|decoder)\.mid_block\.attentions\.0\.(.+)\.(\w+)", name):
        return f"{found[1]}.mid.attn_1.{ATTENTION_VAE[found[2]]}.{found[3]}"
    if found := re.fullmatch(r"encoder\.down_blocks\.(\d)\.(resnets\.(\d)|downsamplers\.0)\.(.+)", name):
        inner = f"block.{found[3]}" if found[3] else "downsample"
        return f"encoder.down.{found[1]}.{inner}.{found[4]}"
    if found := re.fullmatch(r"decoder\.up_blocks\.(\d)\.(resnets\.(\d)|upsamplers\.0)\.(.+)", name):
        inner = f"block.{found[3]}" if found[3] else "upsample"
        return f"decoder.up.{LEVELS - 1 - int(found[1])}.{inner}.{found[4]}"
    return name


def _vae_weight(key: str, weight: torch.Tensor) -> torch.Tensor:
    """Attention of the autoencoder is stored as 1x1 convolutions."""
    if ".mid.attn_1." in key and weight.dim() == 2:
        return weight[:, :, None, None]
    return weight


def checkpoint(vae: torch.nn.Module, unet: torch.nn.Module, text: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All weights under their checkpoint names, in half precision."""
    weights = {UNET_PREFIX + unet_key(name): weight for name, weight in unet.state_dict().items()}
    for name, weight in vae.state_dict().items():
        key = VAE_PREFIX + vae_key(name)
        weights[key] = _vae_weight(key, weight)
    for name, weight in text.state_dict().items():
        if not name.endswith("position_ids"):
            weights[TEXT_PREFIX + name.removeprefix("text_model.")] = weight
    return {key: weight.detach().to(torch.float16).contiguous() for key, weight in weights.items()}


def save(weights: dict[str, torch.Tensor], output: Path) -> None:
    """Write the file by a rename, so that a reader never sees half of it."""
    worst = max(weight.abs().max().item() for weight in weights.values())
    if not worst < 1000:
        raise ValueError(f"a weight of {worst} is too large for half precision with room to spare")
    partial = output.with_suffix(".partial")
    save_file(weights, partial, metadata=METADATA)
    partial.chmod(0o644)
    partial.rename(output)


def export_file(work: Path, output: Path) -> None:
    """Export the averaged weights of the last checkpoint."""
    save(checkpoint(load_vae(work), load_unet(work), load_text(work)), output)
    print(f"wrote {output} ({output.stat().st_size / 1e6:.2f} MB)", flush=True)
