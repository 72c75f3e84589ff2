"""The tiny SD 1.x model on diffusers' modules, and samplers restated from their papers, in f32 or f64."""

import copy
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

GOLDEN = Path(__file__).parent.parent
TOKENS = {row["text"]: row["ids"] for row in json.loads((GOLDEN / "tokens.json").read_text())}
SCALE = 0.18215
ALPHAS = (1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2).cumprod(0).float()
SIGMAS = ((1 - ALPHAS) / ALPHAS) ** 0.5
LOGS = SIGMAS.log()


def text_model():
    config = json.loads((GOLDEN / "tiny-sd1/text_encoder/config.json").read_text())
    model = CLIPTextModel(CLIPTextConfig(**{k: v for k, v in config.items() if not k.startswith(("_", "arch", "transformers", "dtype", "model_type"))}))
    prefix = "cond_stage_model.transformer.text_model."
    weights = {k.removeprefix(prefix): v.float() for k, v in load_file(GOLDEN / "tiny-sd1.safetensors").items() if k.startswith(prefix)}
    inner = model.text_model if hasattr(model, "text_model") else model
    inner.load_state_dict({k: v for k, v in weights.items() if "position_ids" not in k}, strict=True)
    return model


class Rig:
    """All networks in one precision."""

    def __init__(self):
        self.dtype = torch.float32
        self.unet = UNet2DConditionModel.from_pretrained(GOLDEN / "tiny-sd1/unet").float()
        self.vae = AutoencoderKL.from_pretrained(GOLDEN / "tiny-sd1/vae").float()
        self.text = text_model().float()
        for m in (self.unet, self.vae, self.text):
            m.eval().requires_grad_(False)

    def double(self):
        other = copy.copy(self)
        other.dtype = torch.float64
        other.unet, other.vae, other.text = (copy.deepcopy(m).double() for m in (self.unet, self.vae, self.text))
        return other

    def changed(self, change):
        other = copy.copy(self)
        other.unet, other.vae = copy.deepcopy(self.unet), copy.deepcopy(self.vae)
        change(other)
        return other

    def encode_text(self, text):
        ids = [49406, *TOKENS[text]]
        return self.text(torch.tensor([ids + [49407] * (77 - len(ids))])).last_hidden_state

    def mean(self, pixels):
        """Unscaled mean of the latent of pixels in -1..1."""
        return self.vae.encode(pixels.to(self.dtype)).latent_dist.mode()

    def decode(self, latents):
        return self.vae.decode(latents / SCALE).sample

    def eps(self, x, t, context):
        if len(x) == 1:  # torch refuses to normalise groups of a single value, which the lowest level has
            return self.eps(torch.cat([x, x]), t, context)[:1]
        return self.unet(x, torch.full((len(x),), float(t), dtype=self.dtype), context.expand(len(x), -1, -1)).sample


def control_net(rig):
    """The tiny network of `../control`: the UNet's way down and what only a ControlNet has."""
    net = ControlNetModel.from_unet(rig.unet, conditioning_embedding_out_channels=(4, 8, 8, 16))
    names = json.loads((GOLDEN / "control/names.json").read_text())["sd1"]
    own = {names[old]: value.float() for old, value in load_file(GOLDEN / "control/sd1-a.safetensors").items()}
    assert not net.load_state_dict(own, strict=False).unexpected_keys
    return net.to(rig.dtype).eval().requires_grad_(False)


def timestep_of(sigma):
    low = int((sigma.float().log() - LOGS).ge(0).sum().sub(1).clamp(0, 998))
    w = ((LOGS[low] - sigma.float().log()) / (LOGS[low] - LOGS[low + 1])).clamp(0, 1)
    return (1 - w) * low + w * (low + 1)


def sigmas(n):
    t = torch.linspace(999, 0, n)
    low, high, w = t.floor().long(), t.ceil().long(), t.frac()
    return torch.cat([((1 - w) * LOGS[low] + w * LOGS[high]).exp(), torch.zeros(1)])


def cfg(rig, cond, uncond, scale, rescale=0.0, extra=None):
    """Guided noise prediction for a unit-variance latent."""

    def model(x, t):
        seen = x if extra is None else torch.cat([x, extra.expand(len(x), -1, -1, -1)], 1)
        c = rig.eps(seen, t, cond)
        if scale == 1:
            return c
        u = rig.eps(seen, t, uncond)
        guided = u + scale * (c - u)
        if rescale:
            axes = (1, 2, 3)
            target = guided * (c.std(axes, keepdim=True) / guided.std(axes, keepdim=True))
            guided = rescale * target + (1 - rescale) * guided
        return guided

    return model


def denoiser(model, keep=None):
    """Clean latent in clean + sigma * noise; `keep(clean)` puts the picture back around a mask."""

    def run(x, sigma):
        clean = x - sigma * model(x / (sigma**2 + 1) ** 0.5, timestep_of(sigma))
        return clean if keep is None else keep(clean)

    return run


def euler(denoise, x, levels):
    for a, b in zip(levels, levels[1:]):
        x = x + (x - denoise(x, a)) / a * (b - a)
    return x


def euler_a(denoise, x, levels, noise):
    for a, b in zip(levels, levels[1:]):
        up = torch.minimum(b, (b**2 * (a**2 - b**2) / a**2) ** 0.5)
        down = (b**2 - up**2) ** 0.5
        x = x + (x - denoise(x, a)) / a * (down - a)
        if b > 0:
            x = x + noise().to(x) * up
    return x


def ddim(model, x, times):
    """`times` ascend; the walk ends at the first of them."""
    alphas = ALPHAS[times].double()
    for i in range(len(times) - 1, 0, -1):
        a, prev = alphas[i].to(x), alphas[i - 1].to(x)
        e = model(x, times[i])
        x = prev.sqrt() * (x - (1 - a).sqrt() * e) / a.sqrt() + (1 - prev).sqrt() * e
    return x
