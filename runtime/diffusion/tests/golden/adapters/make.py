"""Writes adapters of every kind for the tiny SD 1.x model, and what LyCORIS, PEFT and diffusers make of them.

    pip install -r ../requirements.txt peft==0.21.2 && pip install --no-deps lycoris_lora==4.1.3 einops toml && python make.py

`<case>.safetensors` is an adapter; `merged.safetensors` holds the weights of the reference with it, as
`<case>/<tensor>@<weight>`. Everything is computed in f32 (the golden value) and in f64; the largest
difference of the two is stored in `spread.json`.
"""

import copy
import json
import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from lycoris.modules.full import FullModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from peft import IA3Config, LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import models  # noqa: E402

torch.set_num_threads(1)
torch.set_grad_enabled(False)
SPREAD = {}
MERGED = {}
WEIGHT = 0.7

Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
K = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
OUT = "up_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0"
FF = "up_blocks.3.attentions.1.transformer_blocks.0.ff.net.2"
CONV = "down_blocks.0.resnets.0.conv1"
SHORTCUT = "down_blocks.1.resnets.0.conv_shortcut"
PROJ = "mid_block.attentions.0.proj_in"
NORM = "down_blocks.0.resnets.0.norm1"
TEXT = "text.encoder.layers.0.self_attn.q_proj"


def base():
    """The stored model, in f32."""
    unet = UNet2DConditionModel.from_pretrained(HERE.parent / "tiny-sd1" / "unet").float()
    text = CLIPTextModel(CLIPTextConfig.from_pretrained(HERE.parent / "tiny-sd1" / "text_encoder"))
    prefix = models.PREFIX["text"]
    tensors = load_file(HERE.parent / "tiny-sd1.safetensors")
    inner = getattr(text, "text_model", text)
    state = {n.removeprefix(prefix): t.float() for n, t in tensors.items() if n.startswith(prefix) and "position_ids" not in n}
    inner.load_state_dict(state, strict=False)
    for model in (unet, text):
        model.eval().requires_grad_(False)
    return {"unet": unet, "text": text}


def split(path):
    return ("text", path.removeprefix("text.")) if path.startswith("text.") else ("unet", path)


def module_of(parts, path):
    part, rest = split(path)
    model = parts[part]
    return getattr(model, "text_model", model).get_submodule(rest) if part == "text" else model.get_submodule(rest)


def kohya(path):
    part, rest = split(path)
    return ("lora_te_text_model_" if part == "text" else "lora_unet_") + rest.replace(".", "_")


def engine(path, leaf="weight"):
    part, rest = split(path)
    return f"{part}.{rest}.{leaf}"


def spread(name, f32, f64):
    SPREAD[name] = max(SPREAD.get(name, 0.0), (f32.double() - f64.double()).abs().max().item())


def keep(case, path, weight, f32, f64, leaf="weight"):
    spread("merged", f32, f64)
    MERGED[f"{case}/{engine(path, leaf)}@{weight:g}"] = f32.contiguous()


def random_(module, generator, size=0.3):
    for name, value in module.named_parameters():
        noise = torch.randn(value.shape, generator=generator)
        # Norms near those of the weights, as training leaves them.
        value.copy_(value * (1 + 0.2 * noise) if "dora_scale" in name else size * noise)


def merged(module, weight, full, weight_norm):
    """What a LyCORIS module makes of its layer's weight, and of its bias or None.

    LoHa and LoKr go by `get_weight`, as their `forward` does: `get_diff_weight` multiplies by the scale again.
    DoRA below 1 goes in a straight line from the model to the result at 1, as in the web UI.
    """
    if full:
        return module.get_merged_weight(weight)
    if isinstance(module, IA3Module):
        return module.get_merged_weight(weight)[0], None
    org = module.org_module[0].weight
    scaled = isinstance(module, (LohaModule, LokrModule))
    diff = lambda m: (module.get_weight(module.shape) * m if scaled else module.get_diff_weight(m)[0]).reshape(org.shape)
    if not weight_norm:
        return org + diff(weight), None
    return org + (module.apply_weight_decompose(org + diff(1), 1) - org) * weight, None


def lycoris(case, rows, seed, weights=(WEIGHT,)):
    """`rows`: path, class of the module, its arguments."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for path, cls, arguments in rows:
        layer = module_of(BASE, path)
        module = cls("x", layer, multiplier=1.0, **arguments)
        if isinstance(module, IA3Module):
            module.on_input = torch.tensor(int(module.train_input))
        random_(module, generator)
        state = module.custom_state_dict() if hasattr(module, "custom_state_dict") else module.state_dict()
        if isinstance(module, FullModule):
            state = {"diff": module.weight.data} | ({"diff_b": module.bias.data} if module.bias is not None else {})
        elif isinstance(module, (NormModule, IA3Module)):
            state = {k: v for k, v in module.state_dict().items() if "org_module" not in k}
        for key, value in state.items():
            out[f"{kohya(path)}.{key}"] = torch.as_tensor(value).clone().contiguous()
        double = copy.deepcopy(module).double()
        double.org_module = [copy.deepcopy(layer).double()]
        if isinstance(module, FullModule):
            double._org_weight = [module._org_weight[0].double()]
            double.org_bias = [module.org_bias[0].double()] if module.org_bias is not None else None
        full = isinstance(module, (FullModule, NormModule))
        for weight in weights:
            (w32, b32), (w64, b64) = (merged(m, weight, full, getattr(m, "wd", False)) for m in (module, double))
            keep(case, path, weight, w32, w64)
            if b32 is not None:
                keep(case, path, weight, b32, b64, "bias")
    save_file(out, HERE / f"{case}.safetensors")
    return out


def lycoris_cases():
    low = dict(lora_dim=4, alpha=2.0)
    tucker = low | dict(use_tucker=True)
    lycoris("lora", [(p, LoConModule, low) for p in (Q, K, FF, TEXT)], 1)
    lycoris("locon", [(p, LoConModule, low | dict(alpha=3.0)) for p in (CONV, SHORTCUT, PROJ)], 2)
    lycoris("locon-cp", [(CONV, LoConModule, tucker)], 3)
    lycoris("loha", [(p, LohaModule, low) for p in (Q, K, CONV, TEXT)], 4)
    lycoris("loha-cp", [(CONV, LohaModule, tucker)], 5)
    small = dict(lora_dim=1, alpha=0.5, decompose_both=True, factor=4)
    lycoris("lokr", [(Q, LokrModule, small), (K, LokrModule, low | dict(factor=2)), (SHORTCUT, LokrModule, dict(lora_dim=1, alpha=0.5, factor=2))], 6)
    lycoris("lokr-full", [(Q, LokrModule, low | dict(full_matrix=True)), (CONV, LokrModule, dict(lora_dim=1, alpha=0.5, factor=4))], 7)
    lycoris("lokr-cp", [(CONV, LokrModule, dict(lora_dim=2, alpha=1.0, factor=4, use_tucker=True))], 8)
    wd = dict(weight_decompose=True)
    lycoris("dora", [(p, LoConModule, low | wd) for p in (Q, CONV, TEXT)], 9, (1.0, WEIGHT))
    lycoris("dora-columns", [(p, LoConModule, low | wd | dict(wd_on_out=False)) for p in (K, CONV)], 10, (1.0, WEIGHT))
    lycoris("doha-dokr", [(K, LohaModule, low | wd), (SHORTCUT, LokrModule, dict(lora_dim=1, alpha=0.5, factor=2) | wd)], 11, (1.0, WEIGHT))
    lycoris("ia3", [(K, IA3Module, {}), (FF, IA3Module, dict(train_on_input=True)), (TEXT, IA3Module, {})], 12, (1.0, WEIGHT))
    lycoris("full", [(Q, FullModule, {}), (OUT, FullModule, {}), (NORM, NormModule, {})], 13)


def state_of(model):
    return {n.replace(".base_layer", ""): v for n, v in model.state_dict().items() if "lora_" not in n and "ia3_" not in n}


def peft_unet(config, generator, size=0.3):
    """The UNet with a random adapter of this configuration."""
    unet = copy.deepcopy(BASE["unet"])
    unet.add_adapter(config) if isinstance(config, LoraConfig) else inject_adapter_in_model(config, unet)
    for name, value in unet.named_parameters():
        if "lora_magnitude" in name:
            value.copy_(value * (1 + 0.2 * torch.randn(value.shape, generator=generator)))
        elif "ia3_l" in name:
            value.copy_(1 + size * torch.randn(value.shape, generator=generator))
        elif "lora_" in name:
            value.copy_(size * torch.randn(value.shape, generator=generator))
    return unet.eval()


def fused(unet, paths, case, weight, leaves=("weight",)):
    """Merges in f32 and f64 and keeps some tensors."""
    states = []
    for model in (copy.deepcopy(unet), copy.deepcopy(unet).double()):
        for module in model.modules():
            if hasattr(module, "merge") and hasattr(module, "base_layer"):
                if hasattr(module, "scale_layer"):
                    module.scale_layer(weight)
                module.merge()
        states.append(state_of(model))
    for path in paths:
        for leaf in leaves:
            name = f"{path}.{leaf}"
            if name in states[0]:
                keep(case, path, weight, states[0][name], states[1][name], leaf)


def run(unet, name="unet"):
    """The UNet's output on one of its golden inputs."""
    inputs = load_file(HERE.parent / "unet.safetensors")
    call = lambda net, dtype: net(inputs["square.x"].to(dtype), inputs["square.t"], inputs["square.context"].to(dtype)).sample
    f32 = call(unet, torch.float32)
    spread(name, f32, call(copy.deepcopy(unet).double(), torch.float64))
    return f32


def peft_cases():
    generator = torch.Generator().manual_seed(20)
    targets = ["to_q", "to_k", "to_v", "to_out.0", "conv1", "conv_shortcut"]
    unet = peft_unet(LoraConfig(r=4, lora_alpha=6, target_modules=targets, alpha_pattern={"conv1": 3}), generator, 0.1)
    config = next(iter(unet.peft_config.values()))
    StableDiffusionPipeline.save_lora_weights(
        HERE, unet_lora_layers=get_peft_model_state_dict(unet), weight_name="peft-lora.safetensors",
        unet_lora_adapter_metadata=config.to_dict(),
    )
    fused(unet, [Q, K, OUT, CONV, SHORTCUT], "peft-lora", WEIGHT)
    unet.set_adapters(["default"], [WEIGHT])
    MERGED["peft-lora/unet"] = run(unet).contiguous()
    dora = peft_unet(LoraConfig(r=4, lora_alpha=4, target_modules=["attn2.to_k", "down_blocks.0.resnets.0.conv1"], use_dora=True), generator)
    StableDiffusionPipeline.save_lora_weights(HERE, unet_lora_layers=get_peft_model_state_dict(dora), weight_name="peft-dora.safetensors")
    fused(dora, [K, CONV], "peft-dora", 1.0)
    ia3 = peft_unet(IA3Config(target_modules=["to_out.0", "to_k", "ff.net.2"], feedforward_modules=["ff.net.2"]), generator)
    state = get_peft_model_state_dict(ia3)
    save_file({f"unet.{n}": v.contiguous() for n, v in state.items()}, HERE / "peft-ia3.safetensors")
    fused(ia3, [K, OUT, FF], "peft-ia3", 1.0, ("weight", "bias"))


def layouts():
    """One LoRA in every layout; alpha over rank is 2, so that the layouts without alpha carry it exactly."""
    generator = torch.Generator().manual_seed(30)
    unet_paths = [Q, K, OUT, "mid_block.attentions.0.transformer_blocks.0.attn2.to_v"]
    text_paths = [TEXT, "text.encoder.layers.1.self_attn.out_proj"]
    pairs, text = {}, {}
    for path in unet_paths + text_paths:
        out, inputs = module_of(BASE, path).weight.shape
        pair = [0.3 * torch.randn(s, generator=generator) for s in ((4, inputs), (out, 4))]
        (text if path in text_paths else pairs)[path] = pair
    alpha = torch.tensor(8.0)
    ldm = lambda path: models.unet_name(f"{path}.weight").removesuffix(".weight").replace(".", "_")
    named = lambda path: "text_model." + path.removeprefix("text.")
    files = {name: {} for name in ("kohya", "kohya-ldm", "webui", "diffusers", "diffusers-old", "processors")}
    for path, (down, up) in (pairs | text).items():
        is_text = path in text
        flat = kohya(path)
        names = {
            "kohya": flat,
            "kohya-ldm": flat.replace("lora_te_", "lora_te1_") if is_text else f"lora_unet_{ldm(path)}",
            "webui": "transformer_" + named(path).replace(".", "_") if is_text else f"diffusion_model_{ldm(path)}",
        }
        for layout, name in names.items():
            files[layout] |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": alpha}
        dotted = f"text_encoder.{named(path)}" if is_text else f"unet.{path}"
        files["diffusers"] |= {f"{dotted}.lora_A.weight": down, f"{dotted}.lora_B.weight": up * 2}
        end = "lora_linear_layer" if is_text else "lora"
        files["diffusers-old"] |= {f"{dotted}.{end}.down.weight": down, f"{dotted}.{end}.up.weight": up * 2}
        stem, leaf = dotted.removesuffix(".0").rsplit(".", 1)
        leaf = {"q_proj": "to_q", "out_proj": "to_out"}.get(leaf, leaf)
        stem = f"{stem}.{leaf}_lora" if is_text else f"{stem}.processor.{leaf}_lora"
        files["processors"] |= {f"{stem}.down.weight": down, f"{stem}.up.weight": up * 2}
    for layout, tensors in files.items():
        save_file({n: t.clone().contiguous() for n, t in tensors.items()}, HERE / f"layout-{layout}.safetensors")
    for path, (down, up) in (pairs | text).items():
        weight = module_of(BASE, path).weight
        delta = lambda dtype: weight.to(dtype) + (up.to(dtype) @ down.to(dtype)) * 2 * WEIGHT
        keep("layout", path, WEIGHT, delta(torch.float32), delta(torch.float64))
    for layout in ("kohya", "diffusers", "diffusers-old"):
        check_loader(layout, pairs)


def check_loader(layout, pairs):
    """diffusers' own loader reads the file as the same weights."""
    unet = copy.deepcopy(BASE["unet"])
    state, alphas = StableDiffusionPipeline.lora_state_dict(HERE / f"layout-{layout}.safetensors", unet_config=unet.config)[:2]
    StableDiffusionPipeline.load_lora_into_unet(state, network_alphas=alphas, unet=unet)
    unet.fuse_lora(lora_scale=WEIGHT)
    state = state_of(unet)
    for path in pairs:
        worst = (state[f"{path}.weight"] - MERGED[f"layout/{engine(path)}@{WEIGHT:g}"]).abs().max().item()
        assert worst < 1e-6, (layout, path, worst)


def in_order():
    """The LoRA at 0.7, then the DoRA of the result at 1: each adapter changes what the ones before left."""
    lora, dora = (load_file(HERE / f"{name}.safetensors") for name in ("lora", "dora"))
    results = []
    for dtype in (torch.float32, torch.float64):
        get = lambda file, key: file[f"{kohya(Q)}.{key}"].to(dtype)
        weight = module_of(BASE, Q).weight.to(dtype)
        weight = weight + get(lora, "lora_up.weight") @ get(lora, "lora_down.weight") * (2 / 4) * WEIGHT
        whole = weight + get(dora, "lora_up.weight") @ get(dora, "lora_down.weight") * (2 / 4)
        results.append(whole * (get(dora, "dora_scale") / whole.norm(dim=1, keepdim=True)))
    keep("lora-then-dora", Q, 1.0, *results)


BASE = base()

if __name__ == "__main__":
    lycoris_cases()
    peft_cases()
    layouts()
    in_order()
    import hypernetworks

    hypernetworks.make(BASE, run, MERGED, HERE)
    save_file(MERGED, HERE / "merged.safetensors")
    (HERE / "spread.json").write_text(json.dumps(SPREAD, indent=1) + "\n")
    print(json.dumps(SPREAD, indent=1))
