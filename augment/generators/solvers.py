"""Steps of the samplers as tables, so that a step is a few multiplications and nothing waits.

diffusers' schedulers compute the coefficients anew at each step, and look a level up by waiting for
the GPU. Those of all levels are computed beforehand here, from the schedulers' own noise levels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from augment.runtime.seeds import seed_for

LEVELS = 1000  # noise levels of the training schedule


class Course(NamedTuple):
    """How a sampler goes from noise to an image."""

    name: str  # "dpm++", "ddim" or "ddpm"
    calls: int  # noise levels between pure noise and none
    strength: float  # share of them that is visited, the lowest ones
    clipped: bool = True  # "ddim" and "ddpm" hold the image that they predict within [-1, 1]

    @property
    def steps(self) -> int:
        """Number of levels that are visited."""
        return max(1, round(self.strength * self.calls))


def scheduler(name: str, clipped: bool = True) -> Any:
    """Build diffusers' scheduler of a sampler, on the cosine schedule (Nichol & Dhariwal 2021)."""
    from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

    common: dict[str, Any] = dict(
        num_train_timesteps=LEVELS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )
    if name == "dpm++":
        return DPMSolverMultistepScheduler(**common, solver_order=2, final_sigmas_type="zero")
    if name == "ddim":
        return DDIMScheduler(**common, clip_sample=clipped, set_alpha_to_one=True)
    return DDPMScheduler(**common, clip_sample=clipped)


def timed_scheduler(name: str, calls: int, device: torch.device, clipped: bool = True) -> Any:
    """Build a sampler's scheduler that visits `calls` noise levels, all of them at least 0."""
    plan = scheduler(name, clipped)
    plan.set_timesteps(calls, device=device)
    # at 61, 103, 121 … calls the spacing is rounded so that there is one level more: -1
    if len(plan.timesteps) > calls:
        plan.timesteps = plan.timesteps[:calls]
        if name == "dpm++":  # a noise level for each, and 0 behind the last
            plan.sigmas = torch.cat([plan.sigmas[:calls], plan.sigmas[-1:]])
            plan.num_inference_steps = calls
    return plan


def follow_scheduler(
    course: Course, x: Tensor, velocity: Callable[[Tensor, Tensor], Tensor], seeds: Tensor
) -> Tensor:
    """Sample from noisy images [B, C, H, W] by the steps of diffusers' scheduler.

    `velocity(x, t)` is the network's prediction of v at level t []; `seeds` [B] are the images'.
    """
    plan = timed_scheduler(course.name, course.calls, x.device, course.clipped)
    # only the full chain adds noise on the way: one generator per image
    noise: dict[str, Any] = {}
    if course.name == "ddpm":
        noise["generator"] = [
            torch.Generator().manual_seed(seed_for(s, "chain")) for s in seeds.tolist()
        ]
    for t in plan.timesteps[-course.steps :]:
        x = plan.step(velocity(x, t), t, x, return_dict=False, **noise)[0]
    return x


def follow_table(course: Course, x: Tensor, step: Callable[..., dict[str, Tensor]]) -> Tensor:
    """Sample from noisy images [B, C, H, W] by the table of a sampler.

    `step(x, last, t, row)` predicts v at level t [] and returns `next_image` of it.
    """
    levels, table = tabulate(course, x.device)
    last = torch.zeros_like(x)
    for t, row in zip(levels, table, strict=True):
        results = step(x, last, t, row)
        x, last = results["x"], results["x0"]
    return x


def noisy(x0: Tensor, eps: Tensor, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """Return xt and v of images x0 and noise eps, [B, C, H, W] each; `alpha_bar` is [B] or [].

    v = alpha eps - sigma x0 (Salimans & Ho 2022, appendix D).
    """
    shape = (-1, 1, 1, 1) if alpha_bar.ndim else ()
    alpha, sigma = alpha_bar.sqrt().view(shape), (1 - alpha_bar).sqrt().view(shape)
    return alpha * x0 + sigma * eps, alpha * eps - sigma * x0


@functools.lru_cache(maxsize=32)
def first_level(course: Course) -> int:
    """Return the noise level that sampling starts at, 0…999."""
    plan = timed_scheduler(course.name, course.calls, torch.device("cpu"))
    return int(plan.timesteps[-course.steps])


@functools.lru_cache(maxsize=32)
def tabulate(course: Course, device: torch.device) -> tuple[Tensor, Tensor]:
    """Tabulate "dpm++" or "ddim": levels [n] int64, descending, coefficients [n, 6] float32."""
    plan = timed_scheduler(course.name, course.calls, torch.device("cpu"))
    levels = plan.timesteps[-course.steps :]
    table = _dpm_table(plan, len(levels)) if course.name == "dpm++" else _ddim_table(plan, levels)
    return levels.to(device), table.float().to(device)


def next_image(x: Tensor, v: Tensor, last: Tensor, row: Tensor, clipped: bool) -> dict[str, Tensor]:
    """Take one step of a table: the next `x`, and `x0`, the image predicted here.

    x, v and `last`, the image predicted one step before (zeros at the first), are [B, C, H, W];
    `row` [6] has the step's coefficients. `clipped` holds the predicted image within [-1, 1].
    """
    alpha, sigma, of_x, of_v, of_x0, of_last = row
    x0 = alpha * x - sigma * v
    if clipped:
        x0 = x0.clamp(-1, 1)
    return {"x": of_x * x + of_v * v + of_x0 * x0 + of_last * last, "x0": x0}


def _dpm_table(plan: Any, n: int) -> Tensor:
    """Tabulate the last n steps of DPM-Solver++ (2M): [n, 6] float64.

    Lu et al. 2022, algorithm 2: of first order at the first step, and at the last, where no noise
    is left.
    """
    noise = plan.sigmas[-n - 1 :].double()  # [n + 1]: sigma / alpha of each level, 0 behind it
    alpha = (1 + noise.square()).rsqrt()
    sigma = alpha * noise
    log_snr = -noise.log()  # lambda; infinite at the end
    h = log_snr.diff()  # [n]
    of_x = sigma[1:] / sigma[:-1]
    of_x0 = -alpha[1:] * torch.expm1(-h)
    # D1 = (x0 - last) / r0, with half its weight; r0 is the step before over this one
    half = torch.zeros(n, dtype=torch.float64)
    if n > 2:
        half[1:-1] = 0.5 * of_x0[1:-1] * h[1:-1] / h[:-2]
    zero = torch.zeros_like(half)
    return torch.stack([alpha[:-1], sigma[:-1], of_x, zero, of_x0 + half, -half], 1)


def _ddim_table(plan: Any, levels: Tensor) -> Tensor:
    """Tabulate the steps of DDIM at these levels: [n, 6] float64.

    Song et al. 2021, eq. 12 with sigma = 0; eps = alpha v + sigma x.
    """
    # as diffusers: the next level is always the same whole number of levels below
    below = levels - LEVELS // plan.num_inference_steps
    alpha_bar = plan.alphas_cumprod.double()
    here = alpha_bar[levels]
    there = alpha_bar[below.clamp(min=0)].where(below >= 0, plan.final_alpha_cumprod.double())
    alpha, sigma = here.sqrt(), (1 - here).sqrt()
    of_eps = (1 - there).sqrt()
    zero = torch.zeros_like(alpha)
    return torch.stack([alpha, sigma, of_eps * sigma, of_eps * alpha, there.sqrt(), zero], 1)
