"""The samplers, restated in torch from the papers' and the web UI's definitions, for any noise predictor."""

import math

import torch


def alphas_cumprod():
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


ALPHAS = alphas_cumprod()
SIGMAS = ((1 - ALPHAS) / ALPHAS) ** 0.5
LOGS = SIGMAS.log()


def sigma_at(t):
    low, high, w = t.floor().long(), t.ceil().long(), t.frac()
    return ((1 - w) * LOGS[low] + w * LOGS[high]).exp()


def timestep_of(sigma):
    distance = sigma.log() - LOGS
    low = int(distance.ge(0).cumsum(0).argmax().clamp(max=998))
    w = ((LOGS[low] - sigma.log()) / (LOGS[low] - LOGS[low + 1])).clamp(0, 1)
    return (1 - w) * low + w * (low + 1)


def sigmas(schedule, n):
    if schedule == "uniform":
        s = sigma_at(torch.linspace(999, 0, n))
    elif schedule == "karras":
        low, high = SIGMAS[0].item() ** (1 / 7), SIGMAS[-1].item() ** (1 / 7)
        s = (high + torch.linspace(0, 1, n) * (low - high)) ** 7
    else:
        s = torch.linspace(math.log(SIGMAS[-1].item()), math.log(SIGMAS[0].item()), n).exp()
    return torch.cat([s, s.new_zeros(1)])


def denoise(model, x, sigma):
    return x - sigma * model(x / (sigma**2 + 1) ** 0.5, timestep_of(sigma))


def euler(model, x, s, noise):
    for a, b in zip(s, s[1:]):
        x = x + (x - denoise(model, x, a)) / a * (b - a)
        yield x


def euler_a(model, x, s, noise, eta=1.0):
    for a, b in zip(s, s[1:]):
        up = torch.minimum(b, eta * (b**2 * (a**2 - b**2) / a**2) ** 0.5)
        down = (b**2 - up**2) ** 0.5
        x = x + (x - denoise(model, x, a)) / a * (down - a)
        if b > 0:
            x = x + noise() * up
        yield x


def dpmpp_2m(model, x, s, noise):
    old = None
    for i in range(len(s) - 1):
        clean = denoise(model, x, s[i])
        t, t_next = -s[i].log(), -s[i + 1].log()
        h = t_next - t
        target = clean
        if old is not None and s[i + 1] > 0:
            r = (t + s[i - 1].log()) / h
            target = (1 + 1 / (2 * r)) * clean - 1 / (2 * r) * old
        x = s[i + 1] / s[i] * x - (-h).expm1() * target
        old = clean
        yield x


def ddim(model, x, steps, noise, eta=0.0):
    times = (torch.arange(0, 1000, 1000 // steps) + 1).clamp(0, 999)
    alphas = ALPHAS[times].double()
    for i in range(len(times) - 1, 0, -1):
        a, prev = alphas[i], alphas[i - 1]
        e = model(x, times[i].float())
        sigma = eta * ((1 - prev) / (1 - a) * (1 - a / prev)) ** 0.5
        clean = (x - (1 - a).sqrt().to(x) * e) / a.sqrt().to(x)
        x = prev.sqrt().to(x) * clean + (1 - prev - sigma**2).sqrt().to(x) * e + sigma.to(x) * noise()
        yield x


RUNS = {
    "euler": (euler, "uniform", {}),
    "euler_karras": (euler, "karras", {}),
    "euler_a": (euler_a, "uniform", {}),
    "euler_a_half": (euler_a, "uniform", {"eta": 0.5}),
    "dpmpp_2m_karras": (dpmpp_2m, "karras", {}),
    "dpmpp_2m_uniform": (dpmpp_2m, "uniform", {}),
    "ddim": (ddim, None, {}),
    "ddim_half": (ddim, None, {"eta": 0.5}),
}


def trajectory(run, model, first, noise, steps):
    """All latents of a run, the initial one first."""
    function, schedule, extra = RUNS[run]
    plan = steps if schedule is None else sigmas(schedule, steps)
    x = first if schedule is None else first * plan[0]
    return [x, *function(model, x, plan, noise, **extra)]
