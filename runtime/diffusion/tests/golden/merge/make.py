"""Writes small checkpoints in the single-file layout and what the web UI's merger makes of them.

    pip install -r requirements.txt && python make.py

`plans.json` holds a plan per case; `merged.safetensors` the result's tensors as `<case>/<tensor>`. The formulas
are those of the web UI: `run_modelmerger` of `modules/extras.py` (weighted sum, add difference, the rule for
inpainting models, baked VAE), `sigmoid` and `inv_sigmoid` of the same file in October 2022, and the numbering
of sd-webui-merge-block-weighted. torch computes them in f32 and rounds to f16 or bf16 afterwards.
"""

import json
import math
import re
from pathlib import Path

import torch
from safetensors.torch import save_file

torch.set_num_threads(1)
HERE = Path(__file__).parent
UNET = "model.diffusion_model."
VAE = "first_stage_model."


def checkpoint(seed: int, channels: int = 4, dtype=torch.float32) -> dict:
    """Every kind of tensor that a checkpoint has, of odd sizes, so that no kernel's lanes divide them."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        # Magnitudes from tiny to large, as weights have.
        scale = torch.exp2(torch.randint(-9, 3, shape, generator=generator).float())
        return (torch.randn(shape, generator=generator) * scale).to(dtype)

    out = {UNET + "time_embed.0.weight": noise(3, 5), UNET + "out.2.bias": noise(7)}
    out[UNET + "input_blocks.0.0.weight"] = noise(2, channels, 3, 3)
    for i in range(1, 12):
        out[f"{UNET}input_blocks.{i}.0.weight"] = noise(3, 7)
    for i in range(12):
        out[f"{UNET}output_blocks.{i}.1.to_out.0.weight"] = noise(37)
    out[UNET + "middle_block.1.norm.weight"] = noise(11)
    out["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(5)[None] + seed
    out["cond_stage_model.transformer.text_model.final_layer_norm.bias"] = noise(13)
    out[VAE + "decoder.conv_in.weight"] = noise(2, 2, 3, 3)
    out[VAE + "encoder.conv_out.bias"] = noise(3)
    out["model_ema.decay"] = torch.tensor(0.5 + seed / 100)
    out["model_ema.num_updates"] = torch.tensor(seed, dtype=torch.int32)
    out["model_ema.diffusion_modelout2bias"] = noise(7)
    out["betas"] = noise(9).double()
    return out


def weighted_sum(a, b, m):
    return ((1 - m) * a) + (m * b)


def towards(a, b, s):
    return a + ((b - a) * s)


def formula(plan):
    method = plan["method"]
    if method == "WeightedSum":
        return weighted_sum
    if method == "AddDifference":
        return lambda a, difference, m: a + (m * difference)
    if method == "Sigmoid":
        return lambda a, b, m: towards(a, b, m * m * (3 - (2 * m)))
    return lambda a, b, m: towards(a, b, 0.5 - math.sin(math.asin(1.0 - 2.0 * m) / 3.0))


def weight_of(key, plan):
    weights = plan.get("blockWeights", [])
    base, weights = (weights[0], weights[1:]) if len(weights) == 26 else (plan["weight"], weights)
    if not weights or not key.startswith(UNET):
        return base
    if "time_embed" in key:
        return weights[0]
    if ".out." in key:
        return weights[24]
    if "middle_block" in key:
        return weights[12]
    way, number = re.search(r"(input|output)_blocks\.(\d+)\.", key).groups()
    return weights[int(number) + (13 if way == "output" else 0)]


def merge(plan, files):
    a, b = files[plan["a"]["path"]], files[plan["b"]["path"]]
    c = files[plan["c"]["path"]] if "c" in plan else None
    combine, out = formula(plan), {}
    for key, of_a in a.items():
        if plan.get("pruneEma") and key.startswith("model_ema."):
            continue
        if "model" not in key or key not in b or not of_a.is_floating_point():
            out[key] = of_a
            continue
        left, right = of_a.float(), b[key].float()
        if c is not None:
            right = right - c[key].float() if key in c else torch.zeros_like(right)
        m = weight_of(key, plan)
        if left.shape == right.shape:
            out[key] = combine(left, right, m)
        else:
            out[key] = left.clone()
            out[key][:, :4] = combine(left[:, :4], right, m)
    if "vae" in plan:
        out.update({VAE + key: value for key, value in files[plan["vae"]["path"]].items() if not key.startswith("loss")})
    dtypes = {"F32": torch.float32, "F16": torch.float16, "Bf16": torch.bfloat16}
    for key, value in out.items():
        if value.is_floating_point():
            # Without a precision types stay the first model's, but for f64.
            kept = value.dtype if key not in a else a[key].dtype
            kept = torch.float32 if kept == torch.float64 else kept
            out[key] = value.float().to(dtypes.get(plan.get("precision"), kept))
    return out


def main():
    files = {
        "a.safetensors": checkpoint(1),
        "b.safetensors": checkpoint(2),
        "c.safetensors": checkpoint(3),
        "inpainting.safetensors": checkpoint(4, channels=9),
        "half-a.safetensors": checkpoint(5, dtype=torch.float16),
        "half-b.safetensors": checkpoint(6, dtype=torch.bfloat16),
    }
    # What the others lack is the first's own, or is not subtracted.
    del files["b.safetensors"]["model_ema.diffusion_modelout2bias"]
    del files["c.safetensors"][VAE + "encoder.conv_out.bias"]
    vae = {k.removeprefix(VAE): v for k, v in checkpoint(7).items() if k.startswith(VAE)}
    files["vae.safetensors"] = vae | {"loss.logvar": torch.zeros(1)}

    def plan(method, weight, a="a", b="b", **more):
        named = {key: {"path": f"{value}.safetensors", "name": value} for key, value in dict(a=a, b=b).items()}
        for key in ("c", "vae"):
            if key in more:
                more[key] = {"path": f"{more[key]}.safetensors", "name": more[key]}
        return named | {"method": method, "weight": weight} | more

    blocks = [round(0.04 * i, 2) for i in range(26)]
    plans = {
        "sum": plan("WeightedSum", 0.3),
        "beyond": plan("WeightedSum", 1.7),
        "difference": plan("AddDifference", 0.7, c="c"),
        "sigmoid": plan("Sigmoid", 0.3),
        "inverse-sigmoid": plan("InverseSigmoid", 0.3),
        "blocks": plan("WeightedSum", 0.9, blockWeights=blocks[:25]),
        "blocks-base": plan("AddDifference", 0.9, c="c", blockWeights=blocks[::-1]),
        "pruned-f16": plan("WeightedSum", 0.3, precision="F16", pruneEma=True),
        "baked-bf16": plan("WeightedSum", 0.3, precision="Bf16", vae="vae"),
        "halves": plan("WeightedSum", 0.45, a="half-a", b="half-b"),
        "halves-f32": plan("Sigmoid", 0.45, a="half-b", b="half-a", precision="F32", pruneEma=True),
        "inpainting": plan("WeightedSum", 0.6, a="inpainting"),
        "inpainting-difference": plan("AddDifference", 1.0, a="inpainting", c="c"),
    }
    for name, tensors in files.items():
        save_file({k: v.contiguous() for k, v in tensors.items()}, HERE / name)
    merged = {f"{case}/{k}": v.clone().contiguous() for case, p in plans.items() for k, v in merge(p, files).items()}
    save_file(merged, HERE / "merged.safetensors")
    (HERE / "plans.json").write_text(json.dumps(plans, indent=1) + "\n")


if __name__ == "__main__":
    main()
