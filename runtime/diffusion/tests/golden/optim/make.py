"""Writes trajectories of torch's optimisers, schedules and averages beside this file.

    pip install -r ../requirements.txt && python make.py

The problem is elementwise, g = c (p - t) + sin p, so that no order of a sum matters. Each trajectory is
computed in f32 (the golden value) and in f64; `spread.json` holds the largest difference of the two.
"""

import json
from pathlib import Path

import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel, compute_snr
from diffusers import DDPMScheduler
from safetensors.torch import save_file
from transformers.optimization import Adafactor

HERE = Path(__file__).parent
torch.set_num_threads(1)
OUT, SPREAD = {}, {}
STEPS = 25
SHAPES = [(6, 5), (7,), (4, 3, 2, 2)]

OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.03),
    "adamw.settings": lambda p: torch.optim.AdamW(p, lr=0.01, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.2),
    "adafactor": lambda p: Adafactor(p, lr=0.02, scale_parameter=False, relative_step=False),
    "adafactor.decay": lambda p: Adafactor(p, lr=0.02, scale_parameter=False, relative_step=False, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "sgd.settings": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=0.05),
}


def problem(dtype):
    g = torch.Generator().manual_seed(3)
    draw = lambda s: torch.randn(s, generator=g)
    parts = [(draw(s), draw(s).abs() + 0.1, draw(s)) for s in SHAPES]
    return [[t.to(dtype) for t in part] for part in parts]


def trajectory(make, dtype, clip=None):
    parts = problem(dtype)
    # Convolutions are matrices of [out, rest] to Adafactor.
    flat = [[t.flatten(1) if t.dim() > 2 else t for t in part] for part in parts]
    params = [torch.nn.Parameter(p.clone()) for p, _, _ in flat]
    optimizer, norms = make(params), []
    for _ in range(STEPS):
        for p, (_, c, t) in zip(params, flat):
            p.grad = (c * (p - t) + torch.sin(p)).detach()
        if clip:
            norms.append(torch.nn.utils.clip_grad_norm_(params, clip))
        optimizer.step()
    values = torch.cat([p.detach().flatten() for p in params])
    return values, norms


def optimizers():
    for i, (start, curve, target) in enumerate(problem(torch.float32)):
        OUT[f"start.{i}"], OUT[f"curve.{i}"], OUT[f"target.{i}"] = start, curve, target
    for name, make in OPTIMIZERS.items():
        OUT[name], _ = trajectory(make, torch.float32)
        SPREAD[name] = (OUT[name].double() - trajectory(make, torch.float64)[0]).abs().max().item()
    make = OPTIMIZERS["sgd"]
    OUT["clipped"], norms = trajectory(make, torch.float32, clip=1.5)
    OUT["clipped.norms"] = torch.stack(norms)
    SPREAD["clipped"] = (OUT["clipped"].double() - trajectory(make, torch.float64, clip=1.5)[0]).abs().max().item()


def schedules():
    cases = {
        "constant": {}, "constant_with_warmup": {}, "linear": {}, "cosine": {}, "cosine_with_restarts": {"num_cycles": 3},
        "polynomial": {"power": 2.0},
    }
    for name, more in cases.items():
        for warmup in (0, 7):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
            warm = None if name == "constant" else warmup
            schedule = get_scheduler(name, optimizer, num_warmup_steps=warm, num_training_steps=40, **more)
            rates = []
            for _ in range(44):
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.step()
            OUT[f"rate.{name}.{warmup}"] = torch.tensor(rates, dtype=torch.float64)


def averages():
    cases = {
        "plain": {}, "capped": {"decay": 0.6, "min_decay": 0.2}, "late": {"update_after_step": 5},
        "warmup": {"use_ema_warmup": True, "inv_gamma": 2.0, "power": 0.75},
    }
    for name, options in cases.items():
        param = torch.nn.Parameter(torch.linspace(-1, 1, 9))
        ema = EMAModel([param], **options)
        decays = []
        for step in range(1, 21):
            param.data += torch.sin(torch.arange(9.0) + step)
            ema.step([param])
            decays.append(ema.cur_decay_value)
        OUT[f"ema.{name}"] = ema.shadow_params[0].clone()
        OUT[f"ema.{name}.decays"] = torch.tensor(decays, dtype=torch.float64)


def min_snr():
    timesteps = torch.tensor([0, 1, 50, 250, 500, 750, 998, 999])
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    snr = compute_snr(scheduler, timesteps)
    capped = torch.minimum(snr, torch.full_like(snr, 5.0))
    OUT["min_snr.timesteps"] = timesteps
    OUT["min_snr.epsilon"], OUT["min_snr.v_prediction"] = capped / snr, capped / (snr + 1)


if __name__ == "__main__":
    optimizers(), schedules(), averages(), min_snr()
    save_file({k: v.contiguous() for k, v in OUT.items()}, HERE / "optim.safetensors")
    (HERE / "spread.json").write_text(json.dumps(SPREAD, indent=1, sort_keys=True) + "\n")
