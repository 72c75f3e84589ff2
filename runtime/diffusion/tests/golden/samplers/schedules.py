"""Noise levels: k-diffusion's own functions, and the web UI's others restated."""

import numpy as np
import torch
from scipy import stats

from kdiffusion import external, sampling

STEPS = (1, 2, 3, 7, 10, 11, 20, 30, 50, 150)


def alphas_of(betas):
    return (1 - betas.double()).cumprod(0).float()


def scaled_linear():
    return alphas_of(torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2)


def linear():
    return alphas_of(torch.linspace(0.00085, 0.012, 1000, dtype=torch.float64))


def squared_cosine():
    """diffusers' `squaredcos_cap_v2`, its betas kept in f64."""
    signal = np.cos((np.arange(1001) / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2
    return alphas_of(torch.from_numpy(np.minimum(1 - signal[1:] / signal[:-1], 0.999)))


def zero_terminal_snr(alphas):
    """Lin et al. 2023, algorithm 1, ending at the web UI's almost-zero."""
    root = alphas.sqrt()
    first, last = root[0].clone(), root[-1].clone()
    out = ((root - last) * (first / (first - last))) ** 2
    out[-1] = 4.8973451890853435e-08
    return out


class Table(external.DiscreteSchedule):
    def __init__(self, alphas):
        super().__init__(((1 - alphas) / alphas) ** 0.5, False)
        self.alphas = alphas


TABLES = {"sd1": Table(scaled_linear()), "zsnr": Table(zero_terminal_snr(scaled_linear()))}
ALIGNED = {
    "align_your_steps": [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029],
    "align_your_steps.sdxl": [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029],
}


def aligned(levels, n):
    if n == len(levels):
        return levels
    places = np.linspace(0, 1, n)
    return np.exp(np.interp(places, np.linspace(0, 1, len(levels)), np.log(levels[::-1])))[::-1]


def sgm_uniform(table, low, high, n):
    ends = (table.sigma_to_t(torch.tensor(x)) for x in (high, low))
    return [table.t_to_sigma(t).item() for t in torch.linspace(*(e.item() for e in ends), n + 1)[:-1]]


def kl_optimal(low, high, n):
    low, high = torch.tensor(low).atan(), torch.tensor(high).atan()
    share = torch.arange(n + 1) / n
    return (share * low + (1.0 - share) * high).tan()


def simple(table, n):
    return [table.sigmas[-(1 + int(i * (len(table.sigmas) / n)))].item() for i in range(n)]


def ddim(table, n):
    return table.sigmas[1 :: max(len(table.sigmas) // n, 1)].flip(0).tolist()


def beta(low, high, n):
    return [low + stats.beta.ppf(1 - x, 0.6, 0.6) * (high - low) for x in np.linspace(0, 1, n)]


def with_zero(levels):
    return torch.tensor(np.append(np.array(levels, dtype=np.float64), 0.0)).float()


def sigmas(name, n, table=TABLES["sd1"], low=None, high=None, rho=None):
    """All levels of a run; f32 as the web UI holds them."""
    low = table.sigmas[0].item() if low is None else low
    high = table.sigmas[-1].item() if high is None else high
    curved = {} if rho is None else {"rho": rho}
    plain = {
        "uniform": lambda: table.get_sigmas(n),
        "karras": lambda: sampling.get_sigmas_karras(n, low, high, **curved),
        "exponential": lambda: sampling.get_sigmas_exponential(n, low, high),
        "polyexponential": lambda: sampling.get_sigmas_polyexponential(n, low, high, **curved),
        "kl_optimal": lambda: kl_optimal(low, high, n),
        "sgm_uniform": lambda: with_zero(sgm_uniform(table, low, high, n)),
        "simple": lambda: with_zero(simple(table, n)),
        "ddim": lambda: with_zero(ddim(table, n)),
        "beta": lambda: with_zero(beta(low, high, n)),
        **{key: lambda levels=levels: with_zero(aligned(levels, n)) for key, levels in ALIGNED.items()},
    }
    return plain[name]()


NAMES = ("uniform", "karras", "exponential", "polyexponential", "kl_optimal", "sgm_uniform", "simple", "ddim", "beta", *ALIGNED)


def goldens():
    out = {"alphas.linear": linear(), "alphas.squared_cosine": squared_cosine(), "alphas.zsnr": TABLES["zsnr"].alphas}
    for key, table in TABLES.items():
        for name in NAMES:
            for n in STEPS:
                out[f"{key}.{name}.{n}"] = sigmas(name, n, table)
    for n in STEPS:
        out[f"old.karras.{n}"] = sigmas("karras", n, low=0.1, high=10.0)
        out[f"rho.karras.{n}"] = sigmas("karras", n, rho=3.0)
        out[f"rho.polyexponential.{n}"] = sigmas("polyexponential", n, rho=2.0)
    return {name: value.contiguous() for name, value in out.items()}
