"""Writes what one step of each way to train gives with diffusers, transformers and PEFT: loss and gradients.

    pip install -r requirements.txt && python make.py

The models are `tiny-sd1` and those that `../families/components.json` describes. Latents, noise and first values
are drawn from seeds that the tests draw too. Everything is computed in f64; of each gradient its norm and its
products with three vectors of random numbers are kept, in the order of the variables' names in the engine, and
last the norm of its difference to the same in f32.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import compute_snr
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from tokenizer import tokenizer  # noqa: E402

torch.set_num_threads(1)
OUT, EXACT = {}, {}
DTYPE = torch.float64
PROMPTS = ["a red circle on a blue background", "two squares (green)"]
TIMESTEPS, WEIGHTS = [801, 40], [1.0, 0.5]
MICRO = [[512, 640, 8, 0, 64, 64], [64, 64, 0, 0, 64, 64]]
COMPONENTS = json.loads((HERE.parent / "families/components.json").read_text())
TOKENIZER = tokenizer()


def drawn(seed, shape, scale=1.0):
    value = torch.randn(max(1, torch.Size(shape).numel()), generator=torch.Generator().manual_seed(seed))
    return (value * torch.tensor(scale)).reshape(shape).to(DTYPE)


def weight(name, shape, seed):
    """As `draw` of `../families/make.py`."""
    value = torch.randn(max(1, torch.Size(shape).numel()), generator=torch.Generator().manual_seed(seed)).reshape(shape)
    if len(shape) == 1:
        value = value * 0.2 + 1 if name.endswith("weight") else value * 0.1
    else:
        value = value * torch.tensor(torch.Size(shape[1:]).numel() ** -0.5, dtype=torch.float32)
    return value.bfloat16().half().float()


def frozen(model, state):
    own = model.state_dict()
    prefixed = {("text_model." + n if "text_model." + n in own else n): v.float() for n, v in state.items()}
    missing = [n for n in model.load_state_dict(prefixed, strict=False).missing_keys if "position_ids" not in n]
    assert not missing, missing
    return model.eval().requires_grad_(False).to(DTYPE)


def component(key, cls, config=None):
    spec = COMPONENTS[key]
    state = {name: weight(name, shape, 1000 * spec["number"] + i) for i, (name, shape) in enumerate(spec["tensors"])}
    if cls is UNet2DConditionModel:
        known = {k: v for k, v in spec["config"].items() if k != "_class_name"}
        return frozen(UNet2DConditionModel(**known), state)
    return frozen(cls(CLIPTextConfig(**spec["config"])), state)


def sd1():
    folder = HERE.parent / "tiny-sd1"
    single = load_file(HERE.parent / "tiny-sd1.safetensors")
    prefix = "cond_stage_model.transformer.text_model."
    text = {n.removeprefix(prefix): v for n, v in single.items() if n.startswith(prefix) and "position_ids" not in n}
    unet = UNet2DConditionModel(**{k: v for k, v in json.loads((folder / "unet/config.json").read_text()).items() if not k.startswith("_")})
    config = json.loads((folder / "text_encoder/config.json").read_text())
    return frozen(unet, load_file(folder / "unet/diffusion_pytorch_model.safetensors")), [frozen(CLIPTextModel(CLIPTextConfig(**config)), text)]


def sd2():
    return component("sd2", UNet2DConditionModel), [component("text-open", CLIPTextModel)]


def sdxl():
    return component("sdxl", UNet2DConditionModel), [component("text-clip", CLIPTextModel), component("text-big", CLIPTextModelWithProjection)]


def ids(prompts, pad):
    rows = [[49406, *TOKENIZER(p, add_special_tokens=False)["input_ids"], 49407] for p in prompts]
    return torch.tensor([r + [pad] * (77 - len(r)) for r in rows])


def context(family, texts, prompts):
    if family == "sd1":
        return texts[0](ids(prompts, 49407)).last_hidden_state, None
    if family == "sd2":
        # The folder of SD 2.x has no last layer, the single file does: there the one before it counts.
        hidden = texts[0](ids(prompts, 0), output_hidden_states=True).hidden_states[-2]
        norm = next(m for n, m in texts[0].named_modules() if n.endswith("final_layer_norm"))
        return norm(hidden), None
    first = texts[0](ids(prompts, 49407), output_hidden_states=True)
    second = texts[1](ids(prompts, 0), output_hidden_states=True)
    return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1), second.text_embeds


def loss_of(family, unet, texts, shape, gamma=None, prompts=PROMPTS):
    latents, noise = drawn(11, shape), drawn(12, shape)
    kind = "v_prediction" if family == "sd2" else "epsilon"
    scheduler = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=kind)
    t = torch.tensor(TIMESTEPS)
    hidden, pooled = context(family, texts, prompts)
    added = None if pooled is None else {"text_embeds": pooled, "time_ids": torch.tensor(MICRO).to(DTYPE)}
    said = unet(scheduler.add_noise(latents, noise, t), t, hidden, added_cond_kwargs=added).sample
    target = noise if kind == "epsilon" else scheduler.get_velocity(latents, noise, t)
    each = F.mse_loss(said, target, reduction="none").mean(dim=[1, 2, 3])
    if gamma is not None:
        snr = compute_snr(scheduler, t).to(DTYPE)
        divisor = snr if kind == "epsilon" else snr + 1
        each = each * torch.minimum(snr, torch.full_like(snr, gamma)) / divisor
    return (each * torch.tensor(WEIGHTS).to(DTYPE)).mean()


def keep(case, loss, variables):
    """`variables`: the engine's name to the parameter."""
    loss.backward()
    gradients = [variables[name].grad.flatten().double() for name in sorted(variables)]
    if DTYPE == torch.float64:
        EXACT[case] = gradients, loss.item()
        return
    rows = []
    for i, (exact, rounded) in enumerate(zip(EXACT[case][0], gradients, strict=True)):
        products = (drawn(9000 + 3 * i + k, exact.shape).double() @ exact for k in range(3))
        rows.append([exact.norm(), *products, (rounded - exact).norm()])
    OUT[f"{case}.loss"] = torch.tensor([EXACT[case][1]], dtype=torch.float64)
    OUT[f"{case}.gradients"] = torch.tensor(rows, dtype=torch.float64)
    norms = [r[0].item() for r in rows]
    print(case, EXACT[case][1], loss.item(), len(rows), max(norms), max(r[4].item() for r in rows) / max(norms))


def fill(variables, scale):
    for i, name in enumerate(sorted(variables)):
        value = variables[name]
        value.data = drawn(5000 + i, value.shape, scale)
        value.requires_grad_(True)


def inject(model, prefix, shapes):
    """A PEFT adapter beside the modules; the factors under the names of kohya's files."""
    config = LoraConfig(
        target_modules=list(shapes), r=1, rank_pattern={n: r for n, (r, _) in shapes.items()},
        alpha_pattern={n: a for n, (_, a) in shapes.items()}, lora_alpha=1,
    )
    inject_adapter_in_model(config, model)
    model.to(DTYPE)
    found = {}
    for name, value in model.named_parameters():
        for word, part in ((".lora_A.default.weight", "lora_down"), (".lora_B.default.weight", "lora_up")):
            if name.endswith(word):
                stem = name.removesuffix(word).removeprefix("text_model.")
                found[f"{prefix}{stem.replace('.', '_')}.{part}.weight"] = value
    assert len(found) == 2 * len(shapes), (len(found), len(shapes))
    return found


def unet_shapes(unet, shape, conv):
    out = {}
    for name, module in unet.named_modules():
        if not isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            continue
        if "attentions." in name:
            out[name] = shape
        elif conv and any(part in name for part in ("resnets.", "downsamplers.", "upsamplers.")):
            out[name] = conv if getattr(module, "kernel_size", (1,))[0] > 1 else shape
    return out


def text_shapes(text, shape, layers):
    kinds = [(n, m) for n, m in text.named_modules() if isinstance(m, torch.nn.Linear) and "encoder.layers." in n]
    return {n: shape for n, _ in kinds if int(n.split("layers.")[1].split(".")[0]) < layers}


def lora():
    unet, [text] = sd1()
    variables = inject(unet, "lora_unet_", unet_shapes(unet, (4, 2.0), (3, 3.0)))
    variables |= inject(text, "lora_te_text_model_", text_shapes(text, (2, 4.0), 3))
    fill(variables, 0.1)
    keep("sd1-lora", loss_of("sd1", unet, [text], (2, 4, 16, 18)), variables)
    unet, texts = sdxl()
    variables = inject(unet, "lora_unet_", unet_shapes(unet, (2, 1.0), None))
    # Of the first encoder's two layers the second is never read.
    variables |= inject(texts[0], "lora_te1_text_model_", text_shapes(texts[0], (2, 2.0), 1))
    variables |= inject(texts[1], "lora_te2_text_model_", text_shapes(texts[1], (2, 2.0), 2))
    fill(variables, 0.1)
    keep("sdxl-lora", loss_of("sdxl", unet, texts, (2, 4, 16, 16)), variables)


def inversion():
    unet, [text] = sd1()
    variables = {"emb_params": torch.nn.Parameter(torch.zeros(3, text.config.hidden_size))}
    fill(variables, 0.1)
    # Three tokens give way to the vectors that stand for the trained word; which they are does not matter.
    prompts = ["a drawing of cat cat cat, red", "cat cat cat"]
    places = (ids(prompts, 49407) == ids(["cat"], 49407)[0, 1]).nonzero().reshape(2, -1, 2)
    assert places.shape[1] == 3, places

    def replace(_, __, out):
        out = out.clone()
        for row in places:
            for n, (i, j) in enumerate(row.tolist()):
                out[i, j] = variables["emb_params"][n]
        return out

    next(m for n, m in text.named_modules() if n.endswith("token_embedding")).register_forward_hook(replace)
    keep("sd1-inversion", loss_of("sd1", unet, [text], (2, 4, 16, 16), prompts=prompts), variables)


class Hyper(torch.nn.Module):
    """A projection that reads x + net(x): one of the web UI's hypernetworks for keys or values."""

    def __init__(self, inner, net):
        super().__init__()
        self.inner, self.net = inner, net

    def forward(self, x):
        return self.inner(x + self.net(x))


def hypernetwork():
    unet, texts = sd1()
    variables, nets = {}, {}
    for width in (16, 32, 64):
        for side in range(2):
            net = torch.nn.Sequential(
                torch.nn.Linear(width, 2 * width), torch.nn.ReLU(), torch.nn.LayerNorm(2 * width),
                torch.nn.Linear(2 * width, width), torch.nn.LayerNorm(width),
            ).to(DTYPE)
            nets[width, side] = net
            # The reader of files counts the same: linear, activation, norm, linear, norm.
            variables |= {f"{width}.{side}.linear.{n}": v for n, v in net.named_parameters()}
    fill(variables, 0.3)
    for name, module in list(unet.named_modules()):
        if name.endswith((".attn1", ".attn2")):
            for side, which in enumerate(("to_k", "to_v")):
                inner = getattr(module, which)
                setattr(module, which, Hyper(inner, nets[inner.in_features, side]))
    keep("sd1-hypernetwork", loss_of("sd1", unet, texts, (2, 4, 16, 16)), variables)


def full():
    for family, make, shape, gamma in (("sd1", sd1, (2, 4, 16, 18), 5.0), ("sd2", sd2, (2, 4, 16, 16), 3.0)):
        unet, texts = make()
        variables = {f"unet.{n}": v for n, v in unet.named_parameters()}
        if family == "sd1":
            variables |= {"text." + n.removeprefix("text_model."): v for n, v in texts[0].named_parameters()}
        for value in variables.values():
            value.requires_grad_(True)
        keep(f"{family}-full", loss_of(family, unet, texts, shape, gamma), variables)


if __name__ == "__main__":
    for DTYPE in (torch.float64, torch.float32):
        lora()
        inversion()
        hypernetwork()
        full()
    save_file(OUT, HERE / "train.safetensors")
