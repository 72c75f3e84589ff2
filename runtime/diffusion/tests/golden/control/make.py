"""Writes tiny ControlNets and the residuals that diffusers computes with them.

    pip install -r requirements.txt && python make.py

Networks are stored in the original (`cldm`) layout; `names.json` maps those names to diffusers' so that
tests can write the other layout. Those for SD 1.x are copies of the tiny UNet, as real ones begin, so only
what a UNet has not is stored. Each value is computed in f32 (the golden) and in f64; the
largest difference is the `spread` from which tolerances come. Modes and sums are written out by formula.
"""

import copy
import json
import sys
from pathlib import Path

import torch
from diffusers import ControlNetModel
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import models  # noqa: E402

torch.set_num_threads(1)
torch.set_grad_enabled(False)
SPREAD = {}
OUT = {}
WIDTHS = (4, 8, 8, 16)


def roughened(net, seed, only=""):
    """Weights random and values that f16 holds; zero convolutions would hide everything behind them."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in net.named_parameters():
        if not name.startswith(only):
            continue
        noise = torch.randn(value.shape, generator=generator)
        if "norm" in name:
            value.copy_(noise * 0.2 + (1 if name.endswith("weight") else 0))
        elif name.endswith("bias"):
            value.copy_(noise * 0.1)
        else:
            value.copy_(noise * value[0].numel() ** -0.5 * (0.2 if "controlnet_down" in name or "controlnet_mid" in name else 1))
        value.copy_(value.half().float())
    return net.eval().requires_grad_(False)


def sd1(unet, seed):
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=WIDTHS)
    return roughened(net, seed, "controlnet_")


def sdxl(seed):
    net = ControlNetModel(
        block_out_channels=(32, 32, 32), layers_per_block=1, cross_attention_dim=24, attention_head_dim=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        transformer_layers_per_block=(1, 1, 2), use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=256, projection_class_embeddings_input_dim=16 + 256,
        conditioning_embedding_out_channels=WIDTHS,
    )
    return roughened(net, seed)


def cldm_name(name):
    stem, leaf = name.rsplit(".", 1)
    if name.startswith("controlnet_cond_embedding."):
        part = stem.removeprefix("controlnet_cond_embedding.")
        number = {"conv_in": 0, "conv_out": 14}.get(part)
        return f"input_hint_block.{2 * int(part.split('.')[1]) + 2 if number is None else number}.{leaf}"
    if name.startswith("controlnet_down_blocks."):
        return f"zero_convs.{stem.split('.')[1]}.0.{leaf}"
    if name.startswith("controlnet_mid_block."):
        return f"middle_block_out.0.{leaf}"
    if name.startswith("add_embedding."):
        return f"label_emb.0.{0 if 'linear_1' in name else 2}.{leaf}"
    return models.unet_name(name)


def save(name, net, only=""):
    names = {"control_model." + cldm_name(n): n for n in net.state_dict()}
    assert len(set(names)) == len(net.state_dict())
    weights = {old: net.state_dict()[new].half().contiguous() for old, new in names.items() if new.startswith(only)}
    save_file(weights, HERE / f"{name}.safetensors", metadata={"modelspec.title": f"Tiny ControlNet {name}"})
    return names


def both(spread, fn, nets):
    """Runs `fn` in f32 and f64; keeps the f32 tensors."""
    f32 = fn(nets, torch.float32)
    f64 = fn([copy.deepcopy(net).double() for net in nets], torch.float64)
    worst = max((a.double() - b).abs().max().item() for a, b in zip(f32, f64))
    SPREAD[spread] = max(SPREAD.get(spread, 0.0), worst)
    return f32


def keep(case, tensors):
    """Residuals: the skips in order, the middle last."""
    for n, tensor in enumerate(tensors):
        OUT[f"{case}.{'mid' if n + 1 == len(tensors) else n}"] = tensor.contiguous()


def picture(seed, width, height):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(height, width, 3, generator=generator) * 255).round().to(torch.uint8)


def inputs(case, seed, height, width, context, added=None):
    generator = torch.Generator().manual_seed(seed)
    data = {
        "x": torch.randn(2, 4, height, width, generator=generator), "t": torch.tensor([981.0, 20.5]),
        "context": torch.randn(2, 7, context, generator=generator),
    }
    if added:
        data["pooled"] = torch.randn(2, 16, generator=generator)
        data["time_ids"] = torch.tensor([[512.0], [768.0]])
    for name, value in data.items():
        OUT[f"{case}.{name}"] = value
    for n in range(1 if added else 2):
        OUT[f"{case}.hint{n}"] = picture(seed + n, width * 8, height * 8)
    return data


def residuals(net, data, dtype, hint, scale=1.0):
    hint = (hint.permute(2, 0, 1)[None].float() / 255).to(dtype).expand(2, -1, -1, -1)
    added = None
    if "pooled" in data:
        added = {"text_embeds": data["pooled"].to(dtype), "time_ids": data["time_ids"].to(dtype)}
    down, mid = net(
        data["x"].to(dtype), data["t"].to(dtype), data["context"].to(dtype), controlnet_cond=hint, conditioning_scale=scale,
        added_cond_kwargs=added, return_dict=False,
    )
    return [*down, mid]


def main():
    unet = models.build()["unet"]
    first, second, large = sd1(unet, 11), sd1(unet, 12), sdxl(13)
    names = {"sd1": save("sd1-a", first, "controlnet_"), "sdxl": save("sdxl", large)}
    save("sd1-b", second, "controlnet_")
    (HERE / "names.json").write_text(json.dumps(names, indent=0) + "\n")
    for name, net in {"sd1": first, "sdxl": large}.items():
        config = {k: v for k, v in net.config.items() if not k.startswith("_")}
        (HERE / f"{name}.config.json").write_text(json.dumps({"_class_name": "ControlNetModel", **config}, indent=1) + "\n")

    data = inputs("sd1", 5, 12, 16, 16)
    hints = [OUT[f"sd1.hint{n}"] for n in range(2)]
    keep("sd1.plain", both("residuals", lambda n, d: residuals(n[0], data, d, hints[0]), [first]))
    # The web UI extension's weak modes: thirteen scales, of which a network with fewer residuals takes the first.
    OUT["soft"] = torch.tensor([0.825 ** (12 - i) for i in range(13)], dtype=torch.float64)

    def pooled(nets, dtype):
        net = copy.deepcopy(nets[0])
        net.register_to_config(global_pool_conditions=True)
        return residuals(net, data, dtype, hints[0], 0.7)

    keep("sd1.pooled", both("residuals", pooled, [first]))

    def summed(nets, dtype):
        one, two = residuals(nets[0], data, dtype, hints[0], 0.7), residuals(nets[1], data, dtype, hints[1], 1.2)
        return [a + b for a, b in zip(one, two)]

    keep("sd1.sum", both("sum", summed, [first, second]))

    def steered(nets, dtype):
        skips = summed(nets, dtype)
        out = nets[2](
            data["x"].to(dtype), data["t"].to(dtype), data["context"].to(dtype), return_dict=False,
            down_block_additional_residuals=skips[:-1], mid_block_additional_residual=skips[-1],
        )
        return [out[0]]

    OUT["sd1.unet"] = both("unet", steered, [first, second, unet])[0].contiguous()

    data = inputs("sdxl", 9, 8, 8, 24, added=True)
    keep("sdxl.plain", both("residuals", lambda n, d: residuals(n[0], data, d, OUT["sdxl.hint0"]), [large]))
    save_file(OUT, HERE / "control.safetensors")
    (HERE / "spread.json").write_text(json.dumps(SPREAD, indent=1) + "\n")
    print(SPREAD, {k: float(v.abs().max()) for k, v in OUT.items() if k.endswith("mid")})


main()
