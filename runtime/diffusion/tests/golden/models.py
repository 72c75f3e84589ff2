"""A tiny SD 1.x model with random weights, saved in both layouts."""

import json
import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

WIDTH = 16
LEVELS = 4
UNET_LAYERS = 1
PREFIX = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text": "cond_stage_model.transformer.text_model."}


def build():
    """The three networks; every weight is a value that f16 holds, so that all files carry the same model."""
    torch.manual_seed(1)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 64, 32, 32), layers_per_block=UNET_LAYERS, cross_attention_dim=WIDTH,
        attention_head_dim=8, norm_num_groups=32,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 64, 32), layers_per_block=1, latent_channels=4, norm_num_groups=32,
        down_block_types=("DownEncoderBlock2D",) * LEVELS, up_block_types=("UpDecoderBlock2D",) * LEVELS,
        scaling_factor=0.18215,
    )
    text = CLIPTextModel(CLIPTextConfig(
        hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=3, num_attention_heads=1,
        vocab_size=49408, max_position_embeddings=77, hidden_act="quick_gelu", bos_token_id=49406, eos_token_id=49407,
    ))
    models = {"unet": unet, "vae": vae, "text": text}
    for model in models.values():
        model.eval().requires_grad_(False)
        for name, value in model.named_parameters():
            if "norm" in name:
                value.copy_(torch.randn_like(value) * 0.2 + (1 if name.endswith("weight") else 0))
            elif name.endswith("bias"):
                value.copy_(torch.randn_like(value) * 0.1)
        for name, value in text.named_parameters():
            if model is text and value.dim() == 2:
                value.mul_(4)  # its initialisation at 0.02 would leave attention without any effect
    unet.conv_out.weight.mul_(2)
    vae.decoder.conv_out.weight.mul_(2)
    for model in models.values():
        for value in model.parameters():
            value.copy_(value.half().float())
    return models


def save(models, here: Path):
    """The diffusers folder (UNet and VAE; tests add the text encoder from the single file) and the single file."""
    folder = here / "tiny-sd1"
    models["unet"].half().save_pretrained(folder / "unet")
    models["unet"].float()
    models["vae"].save_pretrained(folder / "vae")
    (folder / "text_encoder").mkdir(exist_ok=True)
    models["text"].config.save_pretrained(folder / "text_encoder")
    (folder / "scheduler").mkdir(exist_ok=True)
    scheduler = {
        "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000, "trained_betas": None, "prediction_type": "epsilon", "steps_offset": 1,
    }
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler, indent=2) + "\n")
    tensors = {}
    for part, model in models.items():
        for name, value in model.state_dict().items():
            tensors[PREFIX[part] + RENAME[part](name)] = value.half().contiguous()
    # What real files also carry and loaders must pass over.
    tensors["alphas_cumprod"] = torch.zeros(1000, dtype=torch.float16)
    tensors[PREFIX["text"] + "embeddings.position_ids"] = torch.arange(77).unsqueeze(0)
    save_file(tensors, here / "tiny-sd1.safetensors", metadata={"modelspec.title": "Tiny SD 1.x"})


RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}
FIXED = {
    "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0", "conv_out": "out.2",
}


def unet_name(name):
    """diffusers to ldm, from the block arithmetic of CompVis' `openaimodel.py`."""
    stem, leaf = name.rsplit(".", 1)
    if stem in FIXED:
        return f"{FIXED[stem]}.{leaf}"
    side, *rest = name.split(".")
    if side == "mid_block":
        kind, index, *tail = rest
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(index)}." + member(kind, tail)
    level, kind, index, *tail = rest
    level, index = int(level), int(index)
    if side == "down_blocks":
        first = 1 + level * (UNET_LAYERS + 1)
        if kind == "downsamplers":
            return f"input_blocks.{first + UNET_LAYERS}.0.op.{tail[-1]}"
        return f"input_blocks.{first + index}.{int(kind == 'attentions')}." + member(kind, tail)
    first = level * (UNET_LAYERS + 1)
    if kind == "upsamplers":
        return f"output_blocks.{first + UNET_LAYERS}.{1 if level == 0 else 2}.conv.{tail[-1]}"
    return f"output_blocks.{first + index}.{int(kind == 'attentions')}." + member(kind, tail)


def member(kind, tail):
    return ".".join(tail if kind == "attentions" else [RESNET[tail[0]], *tail[1:]])


def vae_name(name):
    name = re.sub(r"conv_shortcut", "nin_shortcut", name).replace("conv_norm_out", "norm_out")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0.group_norm", "mid.attn_1.norm").replace("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out")
    name = re.sub(r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1", name)
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{LEVELS - 1 - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{LEVELS - 1 - int(m[1])}.upsample", name)


RENAME = {"unet": unet_name, "vae": vae_name, "text": lambda n: n.removeprefix("text_model.")}
