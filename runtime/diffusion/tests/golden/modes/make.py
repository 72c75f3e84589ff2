"""Writes `modes.safetensors` and `spread.json` beside this file: every mode of the engine, done by the web UI's rules
on diffusers' modules.

    pip install -r ../requirements.txt opencv-python-headless pillow && pip install --no-deps -r ../samplers/requirements.txt && python make.py

Every run is computed in f32 (the golden value) and in f64; the largest difference is the run's spread.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

import pictures
from rig import ALPHAS, SCALE, Rig, cfg, control_net, ddim, denoiser, euler, euler_a, sigmas

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "samplers"))

from reference import AUTOMATIC, SAMPLERS, Noise, Run, run_sampler

PROMPT, NEGATIVE, OTHER = "a red circle on a blue background", "", "Hello, World!!!"
STEPS, GUIDANCE, SEED = 8, 5.0, 21
torch.set_num_threads(1)
torch.set_grad_enabled(False)


def noise(seed, height=8, width=8):
    return torch.randn(4, height, width, generator=torch.Generator().manual_seed(seed))


class Walk:
    """Draws like the web UI: one stream per picture, the first draw is the initial noise."""

    def __init__(self, seeds, height=8, width=8, first=None):
        self.seeds, self.shape, self.first = seeds, (4, height, width), first
        self.streams = [torch.Generator().manual_seed(s) for s in seeds]

    def draw(self):
        drawn = torch.stack([torch.randn(self.shape, generator=g) for g in self.streams])
        if self.first is not None:
            drawn, self.first = self.first, None
        return drawn

    def noise(self, dtype):
        return Noise(list(self.seeds), self.shape, dtype)


class Masked:
    """A model as `../samplers` asks it: in both views, with the picture put back where the web UI does."""

    def __init__(self, model, keep):
        self.model, self.keep = model, keep
        self.kept = keep or (lambda x: x)

    def __call__(self, x, sigma):
        return denoiser(self.model, self.keep)(x, torch.as_tensor(sigma).flatten()[0])

    def epsilon(self, x, t):
        return self.model(self.kept(x), t)

    @property
    def unmasked(self):
        return Masked(self.model, None)


def guided(rig, prompt=PROMPT, scale=GUIDANCE, rescale=0.0, extra=None):
    return cfg(rig, rig.encode_text(prompt), rig.encode_text(NEGATIVE), scale, rescale, extra)


def text_to_image(rig, walk, model, sampler="euler"):
    levels = sigmas(STEPS)
    x = walk.draw().to(rig.dtype) * levels[0]
    if sampler == "euler":
        return euler(denoiser(model), x, levels)
    return euler_a(denoiser(model), x, levels, walk.draw)


def image_to_image(rig, init, walk, model, steps, t_enc, sampler="euler", keep=None):
    if sampler == "ddim":
        times = (torch.arange(0, 1000, 1000 // steps) + 1).clamp(0, 999)
        alpha = ALPHAS[times[t_enc]].to(rig.dtype)
        x = init * alpha.sqrt() + walk.draw().to(rig.dtype) * (1 - alpha).sqrt()
        seen = model if keep is None else lambda x, t: model(keep(x), t)
        return ddim(seen, x, times[:t_enc])
    if sampler in SAMPLERS:
        run = Run(sampler, AUTOMATIC.get(sampler, "uniform"), start=(steps, t_enc), dtype=rig.dtype)
        return run_sampler(run, Masked(model, keep), walk.noise(rig.dtype), init)
    levels = sigmas(steps)[steps - t_enc - 1 :]
    x = init + walk.draw().to(rig.dtype) * levels[0]
    if sampler == "euler":
        return euler(denoiser(model, keep), x, levels)
    return euler_a(denoiser(model, keep), x, levels, walk.draw)


def encoded(rig, image):
    return rig.mean(pictures.to_pixels(image)) * SCALE


def t_enc(strength, steps=STEPS):
    return int(min(strength, 0.999) * steps)


def from_picture(rig, strength, sampler="euler", size=(64, 64), mode=0, seeds=(SEED,)):
    image = pictures.source(*size)
    if mode == 3:
        init = F.interpolate(encoded(rig, image), size=(8, 8), mode="bilinear")
    else:
        init = encoded(rig, pictures.fit(image, 64, 64, mode))
    init = init.expand(len(seeds), -1, -1, -1)
    x = image_to_image(rig, init, Walk(seeds), guided(rig), STEPS, t_enc(strength), sampler)
    return x, [pictures.to_image(p) for p in rig.decode(x)]


def inpaint(rig, fill, padding=None, inverted=False, sampler="euler", seeds=(SEED,), size=(96, 80), mode=0, sigma=4, inpainting=False):
    image, covered = pictures.source(*size), pictures.mask(*size)
    if inverted:
        covered = Image.fromarray(255 - np.array(covered))
    if sigma:
        covered = pictures.blur(covered, sigma)
    place = None
    if padding is None:
        seen, mask = pictures.fit(image, 64, 64, mode), pictures.fit(covered, 64, 64, mode)
        strong = Image.fromarray((np.array(mask).astype(np.float32) * 2).clip(0, 255).astype(np.uint8))
        layer = pictures.unmasked(seen, strong).convert("RGBA")
    else:
        place = pictures.region(covered, padding, 64, 64)
        layer = pictures.unmasked(image, covered).convert("RGBA")
        seen, mask = (pictures.fit(p.crop(place), 64, 64, 2) for p in (image, covered))
    if fill != "original":
        seen = pictures.fill(seen, mask)
    init = encoded(rig, seen).expand(len(seeds), -1, -1, -1)
    small = np.array(mask.convert("RGB").resize((8, 8)), np.float32)[..., 0] / 255
    drawn = torch.from_numpy(np.around(small)).to(rig.dtype)
    if fill == "noise":
        init = init * (1 - drawn) + torch.stack([noise(s) for s in seeds]).to(rig.dtype) * drawn
    if fill == "nothing":
        init = init * (1 - drawn)
    extra = None
    if inpainting:
        hard = torch.from_numpy(np.array(mask).astype(np.float32) / 255).round()[None, None].to(rig.dtype)
        hidden = rig.mean(pictures.to_pixels(seen).to(rig.dtype) * (1 - hard)) * SCALE
        extra = torch.cat([F.interpolate(hard, size=(8, 8)), hidden], 1)
    keep = lambda x: x * drawn + init * (1 - drawn)
    x = keep(image_to_image(rig, init, Walk(seeds), guided(rig, extra=extra), STEPS, t_enc(0.75), sampler, keep))
    return x, [pictures.overlay(pictures.to_image(p), layer, place) for p in rig.decode(x)]


def hires(rig, upscaler, size, cut=(0, 0), steps=STEPS, strength=0.6, prompt=PROMPT, seeds=(SEED,), refiner=None):
    width, height = size
    low = text_to_image(rig, Walk(seeds), guided(rig))
    if upscaler == "lanczos":
        large = [pictures.to_image(p).resize(size, pictures.LANCZOS) for p in rig.decode(low)]
        large = torch.cat([encoded(rig, p) for p in large])
    else:
        how, antialias = upscaler
        large = F.interpolate(low, size=(height // 8, width // 8), mode=how, antialias=antialias)
    x, y = cut
    large = large[:, :, y // 2 : large.shape[2] - (y + 1) // 2, x // 2 : large.shape[3] - (x + 1) // 2]
    walk = Walk(seeds, *large.shape[2:])
    model = guided(rig, prompt)
    if refiner is not None:
        model = switching(model, guided(refiner), 0.7)
    whole = int(steps / min(strength, 0.999))
    return finished(rig, image_to_image(rig, large, walk, model, whole, steps - 1))


def finished(rig, x):
    return x, [pictures.to_image(p) for p in rig.decode(x)]


def slerp(share, low, high):
    """On the sphere along rows, as the web UI's variation seeds go."""
    a, b = low / low.norm(dim=1, keepdim=True), high / high.norm(dim=1, keepdim=True)
    angle = (a * b).sum(1).acos()
    weight = lambda s: (s * angle).sin().div(angle.sin()).unsqueeze(1)
    return weight(1 - share) * low + weight(share) * high


def variation(rig):
    first = torch.stack([slerp(0.3, noise(SEED), noise(s)) for s in (5, 6)])
    return finished(rig, text_to_image(rig, Walk((SEED, SEED), first=first), guided(rig), "euler_a"))


def seed_resize(rig):
    """The noise of 64 x 64 in the middle of 96 x 64."""
    first = noise(SEED, 8, 12)
    first[:, :, 2:10] = noise(SEED)
    return finished(rig, text_to_image(rig, Walk((SEED,), 8, 12, first[None]), guided(rig), "euler_a"))


def circular(rig):
    for m in [*rig.unet.modules(), *rig.vae.modules()]:
        if isinstance(m, torch.nn.Conv2d):
            m.padding_mode = "circular"


def halved(rig):
    rig.unet.conv_out.weight.mul_(0.5)


def switching(first, second, share):
    """The other model from a share of the timesteps on."""

    def model(x, t):
        nearest = int(torch.argmin((torch.arange(1000) - t).abs()))
        return (second if (999 - nearest) / 1000 >= share else first)(x, t)

    return model


WIDE = torch.randn(32, 5, 3, 3, generator=torch.Generator().manual_seed(77)).mul(0.1).half().float()


def widened(count):
    def change(rig):
        old = rig.unet.conv_in
        new = torch.nn.Conv2d(4 + count, old.out_channels, 3, padding=1).to(rig.dtype)
        new.weight.copy_(torch.cat([old.weight, WIDE[:, :count].to(rig.dtype)], 1))
        new.bias.copy_(old.bias)
        rig.unet.conv_in = new

    return change


def edit(rig):
    """instruct-pix2pix: text 5, picture 1.5; the picture's latent is not scaled."""
    image = pictures.source(64, 64)
    latent = rig.mean(pictures.to_pixels(image))
    cond, uncond = rig.encode_text(PROMPT), rig.encode_text(NEGATIVE)

    def model(x, t):
        seen, blind = torch.cat([x, latent], 1), torch.cat([x, torch.zeros_like(latent)], 1)
        c, i, u = rig.eps(seen, t, cond), rig.eps(seen, t, uncond), rig.eps(blind, t, uncond)
        return u + GUIDANCE * (c - i) + 1.5 * (i - u)

    return finished(rig, image_to_image(rig, latent * SCALE, Walk((SEED,)), model, STEPS, t_enc(0.8)))


def changing(*models):
    """`models` say from which call on each counts."""
    calls = iter(range(1000))

    def model(x, t):
        call = next(calls)
        return [m for first, m in models if call >= first][-1](x, t)

    return model


def both_prompts(rig):
    """`a AND b :0.5`."""
    first, second, uncond = (rig.encode_text(p) for p in (PROMPT, OTHER, NEGATIVE))

    def model(x, t):
        u = rig.eps(x, t, uncond)
        return u + GUIDANCE * (rig.eps(x, t, first) - u) + 0.5 * GUIDANCE * (rig.eps(x, t, second) - u)

    return finished(rig, text_to_image(rig, Walk((SEED,)), model))


def edited_prompt(rig):
    """`[a:b:0.5]`: the web UI counts calls from 0 and steps from 1, so the first text holds for five of eight."""
    model = changing((0, guided(rig)), (5, guided(rig, OTHER)))
    return finished(rig, text_to_image(rig, Walk((SEED,)), model))


def controlled(rig):
    """One network at 0.8 in the steps from a quarter to three quarters of the way."""
    net = control_net(rig)
    hint = (pictures.to_pixels(pictures.source(64, 64)) / 2 + 0.5).to(rig.dtype)

    class Steered:
        def eps(self, x, t, context):
            x2, c2 = torch.cat([x, x]), context.expand(2, -1, -1)
            time = torch.full((2,), float(t), dtype=rig.dtype)
            down, mid = net(x2, time, c2, hint.expand(2, -1, -1, -1), conditioning_scale=0.8, return_dict=False)
            return rig.unet(x2, time, c2, down_block_additional_residuals=down, mid_block_additional_residual=mid).sample[:1]

    steered = cfg(Steered(), rig.encode_text(PROMPT), rig.encode_text(NEGATIVE), GUIDANCE)
    plain = guided(rig)
    return finished(rig, text_to_image(rig, Walk((SEED,)), changing((0, plain), (2, steered), (7, plain))))


RUNS = {
    "img2img.half": lambda r: from_picture(r, 0.5, seeds=(SEED, SEED + 1)),
    "img2img.most": lambda r: from_picture(r, 0.75, "euler_a", (80, 56), 1),
    "img2img.ddim": lambda r: from_picture(r, 0.75, "ddim", (80, 56), 2),
    "img2img.latent": lambda r: from_picture(r, 0.6, size=(96, 72), mode=3),
    "inpaint.original": lambda r: inpaint(r, "original"),
    "inpaint.fill": lambda r: inpaint(r, "fill"),
    "inpaint.noise": lambda r: inpaint(r, "noise", seeds=(SEED, SEED + 1)),
    "inpaint.nothing": lambda r: inpaint(r, "nothing", sampler="euler_a"),
    "inpaint.inverted": lambda r: inpaint(r, "original", inverted=True, mode=1),
    "inpaint.masked": lambda r: inpaint(r, "original", padding=8),
    "inpaint.masked_fill": lambda r: inpaint(r, "fill", padding=16, sigma=0),
    "inpaint.ddim": lambda r: inpaint(r, "original", sampler="ddim"),
    "inpaint.nine": lambda r: inpaint(r.changed(widened(5)), "original", inpainting=True),
    "edit": lambda r: edit(r.changed(widened(4))),
    "hires.latent": lambda r: hires(r, ("bilinear", False), (96, 96)),
    "hires.bicubic": lambda r: hires(r, ("bicubic", True), (128, 128), cut=(0, 4), steps=5, prompt=OTHER),
    "hires.lanczos": lambda r: hires(r, "lanczos", (96, 96), seeds=(SEED, SEED + 1)),
    "hires.refiner": lambda r: hires(r, ("nearest-exact", False), (96, 96), refiner=r.changed(halved)),
    "variation": variation,
    "seed_resize": seed_resize,
    "tiling": lambda r: (lambda t: finished(t, text_to_image(t, Walk((SEED,)), guided(t))))(r.changed(circular)),
    "rescale": lambda r: finished(r, text_to_image(r, Walk((SEED,)), guided(r, scale=9.0, rescale=0.7))),
    "plain": lambda r: finished(r, text_to_image(r, Walk((SEED,)), guided(r, scale=1))),
    "and": both_prompts,
    "editing": edited_prompt,
    "control": controlled,
    "refiner": lambda r: finished(r, text_to_image(r, Walk((SEED,)), switching(guided(r), guided(r.changed(halved)), 0.5))),
}

# Every sampler from a picture, and under a mask.
for by in SAMPLERS:
    RUNS[f"img2img, {by}"] = lambda r, by=by: from_picture(r, 0.75, by)
    RUNS[f"inpaint, {by}"] = lambda r, by=by: inpaint(r, "original", sampler=by)

if __name__ == "__main__":
    single = Rig()
    double = single.double()
    out = {"wide": WIDE, "mask": pictures.levels(pictures.mask(96, 80))}
    for size in ((64, 64), (80, 56), (96, 72), (96, 80)):
        out[f"source.{size[0]}x{size[1]}"] = pictures.levels(pictures.source(*size))
    spread = {}
    for name, run in RUNS.items():
        latents, images = run(single)
        exact, _ = run(double)
        spread[name] = (latents.double() - exact).abs().max().item()
        out[name] = latents.float().contiguous()
        for i, image in enumerate(images):
            out[f"{name}.{i}"] = pictures.levels(image)
        print(f"{name}: spread {spread[name]:.1e}, deviation {latents.std().item():.1f}", flush=True)
    save_file(out, HERE / "modes.safetensors")
    (HERE / "spread.json").write_text(json.dumps(spread, indent=1) + "\n")
