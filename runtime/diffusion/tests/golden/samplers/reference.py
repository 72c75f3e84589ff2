"""Every sampler as the reference runs it: k-diffusion's and diffusers' own code, the web UI's rest restated.

A sampler is `f(model, x, run, noise)`: it gives the last latent. `run` is a `Run`; `noise` has `next()`
and `brownian(range)`.
"""

import dataclasses

import torch
from diffusers import DDIMScheduler, DDPMScheduler, PNDMScheduler

from kdiffusion import sampling
from noise import Batch
from schedules import TABLES, Table, sigmas

TABLE = TABLES["sd1"]


def single(function, *arguments):
    """Noise levels are numbers of f32 whatever the run computes in, so that both runs have the same."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        return function(*arguments)
    finally:
        torch.set_default_dtype(default)


@dataclasses.dataclass
class Run:
    sampler: str
    schedule: str = "uniform"
    steps: int = 8
    eta: float | None = None
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float | None = None
    s_noise: float = 1.0
    discard: bool = False
    # Steps of the whole run and the web UI's `t_enc`, for image-to-image.
    start: tuple[int, int] | None = None
    dtype: torch.dtype = torch.float32

    def default(self, eta):
        return eta if self.eta is None else self.eta

    @property
    def whole_steps(self):
        return self.start[0] if self.start else self.steps

    def cut(self, levels):
        if self.discard:
            levels = torch.cat([levels[:-2], levels[-1:]])
        self.whole = levels.to(self.dtype)
        skipped = self.start[0] - self.start[1] - 1 if self.start else 0
        return self.whole[skipped:]

    def sigmas(self, table=TABLE):
        return self.cut(single(sigmas, self.schedule, self.whole_steps + int(self.discard), table))

    def churn(self):
        top = float("inf") if self.s_tmax is None else self.s_tmax
        return {"s_churn": self.s_churn, "s_tmin": self.s_tmin, "s_tmax": top, "s_noise": self.s_noise}


class Noise(Batch):
    """The noise of a run, which k-diffusion is made to draw from."""

    def __init__(self, seeds, shape=(4, 4, 4), dtype=torch.float32):
        super().__init__(seeds, shape, dtype=dtype)
        self.seeds = seeds

    def brownian(self, levels):
        low, high = levels[levels > 0].min(), levels.max()
        x = torch.zeros(len(self.seeds), *self.shape, dtype=torch.float32)
        tree = sampling.BrownianTreeNoiseSampler(x, low, high, seed=self.seeds)
        return lambda a, b: tree(a, b).to(self.dtype)


class Torch:
    """torch as k-diffusion sees it, with the run's own noise."""

    def __init__(self, noise):
        self.randn_like = lambda x: noise.next()

    def __getattr__(self, name):
        return getattr(torch, name)


def k(function, *, churn=False, eta=None, s_noise=False, discard=False, brownian=False, **fixed):
    """One of k-diffusion's functions, called as the web UI calls it."""

    def sample(model, x, run, noise):
        run.discard |= discard
        levels = run.sigmas()
        options = dict(fixed)
        if churn:
            options |= run.churn()
        if eta is not None:
            options["eta"] = run.default(eta)
        if s_noise:
            options["s_noise"] = run.s_noise
        if brownian:
            options["noise_sampler"] = noise.brownian(run.whole)
        return getattr(sampling, function)(model, x(levels[0]), levels, disable=True, **options)

    return sample


def dpm(function, counts):
    def sample(model, x, run, noise):
        levels = run.sigmas()
        span = (TABLE.sigmas[0].item(), TABLE.sigmas[-1].item())
        count = run.steps
        if run.start:
            span, count = (levels[-2].item(), levels[0].item()), len(levels) - 1
        options = {"n": count, "s_noise": run.s_noise} if counts else {}
        return getattr(sampling, function)(model, x(levels[0]), *span, disable=True, eta=run.default(1.0), **options)

    return sample


def timesteps(run):
    """The web UI's, rising, and the timestep to which image-to-image noises."""
    taken = [min(t + 1, 999) for t in range(0, 1000, 1000 // (run.whole_steps + int(run.discard)))]
    if run.start is None:
        return taken, None
    return taken[: run.start[1]], taken[run.start[1]]


def scheduler(kind, steps, dtype=torch.float32, **options):
    made = kind(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, **options)
    made.alphas_cumprod = TABLE.alphas.to(dtype)
    made.set_timesteps(steps)
    return made


def ddim(model, x, run, noise):
    taken, noised = timesteps(run)
    made = scheduler(DDIMScheduler, run.whole_steps + int(run.discard), run.dtype, clip_sample=False, set_alpha_to_one=False)
    x = x(noised)
    for t in taken[:0:-1]:
        e = model.epsilon(x, t)
        fresh = noise.next() if run.default(0.0) else None
        x = made.step(e, t, x, eta=run.default(0.0), variance_noise=fresh).prev_sample
    return x


def plms(model, x, run, noise):
    taken, noised = timesteps(run)
    made = scheduler(PNDMScheduler, run.whole_steps + int(run.discard), run.dtype, skip_prk_steps=True, set_alpha_to_one=False)
    x = x(noised)
    falling = taken[:0:-1]
    # diffusers asks at the second timestep twice: the first time only for the second slope.
    asked = [falling[0], *(taken[-2:-1]), *falling[1:]] if falling else []
    for t in asked:
        x = made.step(model.epsilon(x, t), t, x).prev_sample
    return x


def ddpm(model, x, run, noise):
    made = scheduler(DDPMScheduler, run.whole_steps, run.dtype, clip_sample=False)
    made.one = made.one.to(run.dtype)
    falling = made.timesteps.tolist()
    if run.start:
        falling = falling[-max(run.start[1], 1) :]
    x = x(falling[0] if run.start else None)
    real = sys_randn()
    for t in falling:
        real.next = noise.next
        x = made.step(model.epsilon(x, t), torch.tensor(t), x).prev_sample
    real.restore()
    return x


class sys_randn:
    """diffusers' DDPM draws with its own helper."""

    def __init__(self):
        from diffusers.schedulers import scheduling_ddpm

        self.place, self.old = scheduling_ddpm, scheduling_ddpm.randn_tensor
        scheduling_ddpm.randn_tensor = lambda *_, **__: self.next()

    def restore(self):
        self.place.randn_tensor = self.old


def unipc(model, x, run, noise):
    """Zhao et al. 2023, B1(h), data prediction, in the multistep form; times in (0, 1]."""
    taken, noised = timesteps(run)
    x = x(noised)
    steps = len(taken)
    order = min(3, steps)
    first = 1.0 if noised is None else torch.tensor(taken[-1]) / 1000 + 1 / 1000
    times = torch.linspace(float(first), 0.001, steps + 1, dtype=run.dtype)
    logs = TABLE.alphas.to(run.dtype).log() / 2

    def level(time):
        place = (time - 0.001) * 1000
        low = min(max(int(place), 0), 998)
        log = logs[low] + (logs[low + 1] - logs[low]) * (place - low)
        signal, spread = log.exp(), (1 - (2 * log).exp()).sqrt()
        return place, signal, spread, log - spread.log()

    def predict(x, at):
        place, signal, spread, _ = at
        return (x - spread * model.epsilon(x, place)) / signal

    levels = [level(t) for t in times]
    known = [predict(x, levels[0])]
    for i in range(1, steps + 1):
        p = i if i < order else min(order, steps + 1 - i)
        (_, _, spread_0, lam_0), (_, signal, spread, lam) = levels[i - 1], levels[i]
        h = lam - lam_0
        nodes = [(levels[i - 1 - j][3] - lam_0) / h for j in range(1, p)]
        slopes = [(known[-1 - j] - known[-1]) / r for j, r in zip(range(1, p), nodes)]
        # phi[k] = (e^-h - its Taylor polynomial of degree k) / (-h)^k, times k!.
        moments, phi, factorial = [], torch.expm1(-h) / -h - 1, 1.0
        for n in range(1, p + 1):
            moments.append(phi * factorial / -h)
            factorial *= n + 1
            phi = phi / -h - 1 / factorial
        powers = lambda r: torch.stack([torch.stack([torch.as_tensor(v, dtype=run.dtype) ** n for v in r]) for n in range(len(r))])
        base = spread / spread_0 * x - signal * torch.expm1(-h) * known[-1]
        total = lambda weights: sum((w * s for w, s in zip(weights, slopes)), torch.zeros_like(x))
        weights = [0.5] if p == 2 else torch.linalg.solve(powers(nodes), torch.stack(moments[:-1])) if p > 2 else []
        predicted = base + signal * h * total(weights)
        if i == steps:
            return predicted
        there = predict(predicted, levels[i])
        weights = [0.5] if p == 1 else torch.linalg.solve(powers([*nodes, 1.0]), torch.stack(moments))
        x = base + signal * h * (total(weights[:-1]) + weights[-1] * (there - known[-1]))
        known.append(there)
    return x


LCM_TABLE = Table(TABLE.alphas[19::20])


def lcm(model, x, run, noise):
    """Luo et al. 2023 in latents clean + sigma · noise, on the fifty timesteps 19, 39, … 999.

    A model under a mask says with `kept` how a clean latent gets its picture back.
    """
    kept, epsilon = getattr(model, "kept", lambda x: x), getattr(model, "unmasked", model).epsilon
    levels = run.sigmas(LCM_TABLE)
    x = x(levels[0])
    for a, b in zip(levels, levels[1:]):
        t = 20 * int((a.float().log() - LCM_TABLE.log_sigmas).abs().argmin()) + 19
        clean = x - a * epsilon(x / (a**2 + 1) ** 0.5, t)
        scaled = 10.0 * t
        x = kept(scaled / (scaled**2 + 0.25) ** 0.5 * clean + 0.25 / (scaled**2 + 0.25) * x)
        if b > 0:
            x = x + b * noise.next()
    return x


def heun(model, x, a, b):
    """One step; k-diffusion's own would draw noise that it then leaves out, and restarts count on theirs."""
    slope = (x - model(x, a)) / a
    there = x + slope * (b - a)
    if b == 0:
        return there
    return x + (slope + (there - model(there, b)) / b) / 2 * (b - a)


def restart(model, x, run, noise):
    """Xu et al. 2023 with Heun's steps; from 20 steps on the part from 2 to 0.1 is taken again."""
    levels = run.sigmas()
    x = x(levels[0])
    steps = len(levels) - 1
    path = list(zip(levels, levels[1:]))
    if steps >= 20:
        length, times = (steps // 4, 2) if steps >= 36 else (9, 1)
        levels = single(sampling.get_sigmas_karras, steps - length * times, levels[-2].item(), levels[0].item())
        top, bottom = ((levels - s).abs().argmin() for s in (2.0, 0.1))
        again = single(sampling.get_sigmas_karras, length + 1, levels[bottom].item(), levels[top].item())[:-1]
        pairs = lambda s: list(zip(s, s[1:]))
        path = pairs(levels[: bottom + 1]) + pairs(again) * times + pairs(levels[bottom:])
    last = path[0][0]
    for a, b in path:
        if last < a:
            x = x + noise.next() * (a**2 - last**2) ** 0.5
        x = heun(model, x, a.to(run.dtype), b.to(run.dtype))
        last = b
    return x


SAMPLERS = {
    "Euler": k("sample_euler", churn=True),
    "Euler a": k("sample_euler_ancestral", eta=1.0),
    "Heun": k("sample_heun", churn=True),
    "LMS": k("sample_lms"),
    "DPM2": k("sample_dpm_2", churn=True, discard=True),
    "DPM2 a": k("sample_dpm_2_ancestral", eta=1.0, s_noise=True, discard=True),
    "DPM++ 2S a": k("sample_dpmpp_2s_ancestral", eta=1.0, s_noise=True),
    "DPM++ 2M": k("sample_dpmpp_2m"),
    "DPM++ SDE": k("sample_dpmpp_sde", eta=1.0, s_noise=True, brownian=True),
    "DPM++ 2M SDE": k("sample_dpmpp_2m_sde", eta=1.0, s_noise=True, brownian=True),
    "DPM++ 2M SDE Heun": k("sample_dpmpp_2m_sde", eta=1.0, s_noise=True, brownian=True, solver_type="heun"),
    "DPM++ 3M SDE": k("sample_dpmpp_3m_sde", eta=1.0, s_noise=True, discard=True, brownian=True),
    "DPM fast": dpm("sample_dpm_fast", True),
    "DPM adaptive": dpm("sample_dpm_adaptive", False),
    "Restart": restart,
    "DDIM": ddim,
    "PLMS": plms,
    "UniPC": unipc,
    "LCM": lcm,
    "DDPM": ddpm,
}
TIMESTEP_SAMPLERS = ("DDIM", "PLMS", "UniPC", "DDPM")
# What the web UI's "Automatic" is.
AUTOMATIC = {
    **dict.fromkeys(("DPM2", "DPM2 a", "DPM++ 2S a", "DPM++ 2M", "DPM++ SDE", "Restart"), "karras"),
    **dict.fromkeys(("DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE"), "exponential"),
}


def run_sampler(run, model, noise, init=None):
    """From the first noise to the last latent."""
    torch.set_default_dtype(run.dtype)
    sampling.torch = Torch(noise)
    first = noise.next()
    start = torch.zeros_like(first) if init is None else init.to(run.dtype)

    def begin(level):
        if run.sampler not in TIMESTEP_SAMPLERS:
            return start + first * level
        if level is None:
            return first
        alpha = TABLE.alphas.to(run.dtype)[level]
        return alpha**0.5 * start + (1 - alpha) ** 0.5 * first

    try:
        return SAMPLERS[run.sampler](model, begin, run, noise)
    finally:
        torch.set_default_dtype(torch.float32)
        sampling.torch = torch
