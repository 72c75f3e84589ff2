"""Writes the goldens of samplers, schedules and random numbers beside this file.

    pip install -r ../requirements.txt && pip install --no-deps -r requirements.txt && python make.py

Trajectories are computed once in f32 (the golden value) and once in f64 on the same noise; the largest
difference of the two is stored in `spread.json`, which the tests' tolerances are taken from.
"""

import copy
import dataclasses
import json
import sys
from pathlib import Path

import torch
from diffusers import LCMScheduler, UniPCMultistepScheduler
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

import models
import noise
import reference
import schedules
from kdiffusion import external
from mixture import Mixture
from reference import AUTOMATIC, SAMPLERS, TABLE, Noise, Run, run_sampler

# A single picture of 8x8 latents is one position at the lowest level, which torch takes for a mistake in training.
torch.nn.functional._verify_batch_size = lambda size: None
torch.set_num_threads(1)
torch.set_grad_enabled(False)
SEEDS = [11, 12]
SPREAD = {}
INIT = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(99)) * 0.7


def runs():
    """Name and run: every sampler as it is, then its options, other schedules, the middle."""
    yield from ((f"{s}, plain", Run(s, AUTOMATIC.get(s, "uniform"))) for s in SAMPLERS)
    churn = {"s_churn": 6.0, "s_tmin": 0.2, "s_tmax": 8.0, "s_noise": 1.01}
    for s in ("Euler", "Heun", "DPM2"):
        yield f"{s}, churn", Run(s, "karras", **churn)
    for s in ("Euler a", "DPM2 a", "DPM++ 2S a", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 3M SDE", "DPM fast", "DDIM"):
        yield f"{s}, eta 0.5", Run(s, "karras", eta=0.5)
    for s in ("Euler a", "DPM2 a", "DPM++ SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE", "DPM fast", "DPM adaptive"):
        yield f"{s}, eta 0", Run(s, "karras", eta=0.0)
    for s in ("DPM2 a", "DPM++ 2S a", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 3M SDE", "DPM fast"):
        yield f"{s}, s_noise", Run(s, "exponential", s_noise=0.9)
    for s in ("Euler", "DPM++ 2M", "DDIM"):
        yield f"{s}, discard", Run(s, "karras", discard=True)
    for name in ("kl_optimal", "sgm_uniform", "simple", "ddim", "beta", "align_your_steps"):
        yield f"DPM++ 2M, {name}", Run("DPM++ 2M", name, steps=7)
        yield f"Euler a, {name}", Run("Euler a", name, steps=7)
    for s in SAMPLERS:
        yield f"{s}, from the middle", Run(s, AUTOMATIC.get(s, "uniform"), steps=10, start=(10, 6))
    for s in ("Euler", "DPM2 a", "DPM++ SDE", "LCM", "Restart", "DDPM", "DDIM", "PLMS"):
        yield f"{s}, weakest", Run(s, AUTOMATIC.get(s, "uniform"), steps=10, start=(10, 0))
    for n in (20, 40):
        yield f"Restart, {n} steps", Run("Restart", "karras", steps=n)
    yield "Restart, 30 of 60 steps", Run("Restart", "karras", steps=60, start=(60, 29))
    for s in ("DDIM", "PLMS", "UniPC"):
        yield f"{s}, 30 steps", Run(s, steps=30)
    yield "UniPC, 2 steps", Run("UniPC", steps=2)
    yield "LMS, karras", Run("LMS", "karras", steps=12)
    yield "LCM, karras", Run("LCM", "karras", steps=4)
    for n in (1, 3, 7):
        yield f"DPM fast, {n} steps", Run("DPM fast", steps=n)


def pictures_of(run):
    """Batches that the web UI would make; steps that adapt to a batch are taken for each picture alone."""
    return [[0], [1]] if run.sampler == "DPM adaptive" else [[0, 1]]


def trajectories():
    out, described = {}, []
    for name, run in runs():
        described.append({"name": name, **{k: v for k, v in dataclasses.asdict(run).items() if k != "dtype"}})
        for batch in pictures_of(run):
            seen = {}
            for dtype in (torch.float32, torch.float64):
                model = Mixture()
                now = dataclasses.replace(run, dtype=dtype)
                world = Noise([SEEDS[i] for i in batch], dtype=dtype)
                last = run_sampler(now, model, world, INIT[batch] if run.start else None)
                seen[dtype] = (torch.stack([*model.asked, last]), model.levels)
            key = name if len(batch) > 1 else f"{name}, picture {batch[0]}"
            (f32, levels), (f64, exact) = seen[torch.float32], seen[torch.float64]
            assert f32.shape == f64.shape, (key, f32.shape, f64.shape)
            assert f32.isfinite().all(), key
            out[f"{key}.x"], out[f"{key}.levels"] = f32.contiguous(), torch.tensor(levels)
            # Relative to the size of the latents, which fall from 15 to 1 over a run.
            scale = f32.double().abs().amax(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1.0)
            SPREAD[key] = ((f32.double() - f64) / scale).abs().max().item()
            SPREAD[f"{key}, levels"] = max((abs(a - b) / max(b, 0.01) for a, b in zip(levels, exact)), default=0.0)
    save_file({"init": INIT, **out}, HERE / "trajectories.safetensors")
    (HERE / "runs.json").write_text("[\n" + ",\n".join(map(json.dumps, described)) + "\n]\n")


def check_against_diffusers():
    """What is restated here agrees with diffusers where both take the same timesteps."""
    ours, theirs = Mixture(), Mixture()
    # The web UI makes 27 steps of 26, which fall on whole timesteps: 999, 962, … 0. diffusers has no others.
    want = run_sampler(Run("UniPC", steps=26), ours, Noise(SEEDS))
    made = reference.scheduler(
        UniPCMultistepScheduler, 27, solver_order=3, solver_type="bh1", final_sigmas_type="sigma_min", timestep_spacing="linspace"
    )
    x = Noise(SEEDS).next()
    for t in made.timesteps:
        x = made.step(theirs.epsilon(x, t), t, x).prev_sample
    assert (x - want).abs().max() < 1e-3, ("UniPC", (x - want).abs().max())

    want = run_sampler(Run("LCM", steps=8), Mixture(), Noise(SEEDS))
    made = reference.scheduler(LCMScheduler, 8)
    made.set_timesteps(timesteps=list(range(999, 18, -140)))
    fresh = Noise(SEEDS)
    level = TABLE.sigmas[made.timesteps]
    # Their latents have unit variance: x / √(1 + σ²).
    x = fresh.next() * level[0] / (1 + level[0] ** 2) ** 0.5
    model = Mixture()
    for i, t in enumerate(made.timesteps):
        clean = made.step(model.epsilon(x, t), t, x).denoised
        if i < 7:
            a = TABLE.alphas[made.timesteps[i + 1]]
            x = a**0.5 * clean + (1 - a) ** 0.5 * fresh.next()
    assert (clean - want).abs().max() < 1e-3, ("LCM", (clean - want).abs().max())


class Guided(external.DiscreteSchedule):
    """The tiny model with guidance five, in both views."""

    def __init__(self, unet, contexts, dtype):
        super().__init__(TABLE.sigmas, False)
        self.unet, self.contexts, self.dtype = unet, contexts, dtype

    def epsilon(self, x, t):
        time = torch.full((x.shape[0],), float(t))
        cond, uncond = (c.to(self.dtype).expand(x.shape[0], -1, -1) for c in self.contexts)
        c, u = (self.unet(x.to(self.dtype), time, k).sample for k in (cond, uncond))
        return u + 5.0 * (c - u)

    def forward(self, x, sigma):
        sigma = sigma.flatten()[0]
        scale = 1 / (sigma**2 + 1) ** 0.5
        return x - sigma * self.epsilon(x * scale, self.sigma_to_t(sigma.float().reshape(1)))


def pictures():
    """Eight steps of every sampler on the tiny model; contexts are those of `../text.safetensors`."""
    text = load_file(HERE.parent / "text.safetensors")
    contexts = (text["emphasis.0"], text["hidden.skip1"][1:2])
    f32 = models.build()
    f64 = copy.deepcopy(f32["unet"]).double()
    out = {}
    for sampler in SAMPLERS:
        finals = {}
        for unet, dtype in ((f32["unet"], torch.float32), (f64, torch.float64)):
            parts = []
            for batch in pictures_of(Run(sampler)):
                run = Run(sampler, AUTOMATIC.get(sampler, "uniform"), dtype=dtype)
                world = Noise([SEEDS[i] for i in batch], (4, 8, 8), dtype)
                parts.append(run_sampler(run, Guided(unet, contexts, dtype), world))
            finals[dtype] = torch.cat(parts)
        out[sampler] = finals[torch.float32].contiguous()
        decoded = f32["vae"].decode(out[sampler] / 0.18215).sample
        out[f"{sampler}.picture"] = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).contiguous()
        SPREAD[f"{sampler}, tiny"] = (finals[torch.float32].double() - finals[torch.float64]).abs().max().item()
        SPREAD[f"{sampler}, tiny, std"] = out[sampler].std().item()
    save_file(out, HERE / "pictures.safetensors")


if __name__ == "__main__":
    save_file(schedules.goldens(), HERE / "schedules.safetensors")
    save_file(noise.goldens(), HERE / "noise.safetensors")
    check_against_diffusers()
    trajectories()
    pictures()
    (HERE / "spread.json").write_text(json.dumps(SPREAD, indent=1) + "\n")
