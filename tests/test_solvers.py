"""The samplers' steps: diffusers' own, as tables."""

import pytest
import torch

from augment.generators.ddpm import SAMPLERS
from augment.generators.solvers import (
    Course,
    first_level,
    follow_scheduler,
    follow_table,
    next_image,
    tabulate,
    timed_scheduler,
)

CPU = torch.device("cpu")


def velocity(x, t):
    """A smooth prediction, different at each level."""
    return torch.sin(2 * x + t / 300) * 0.9


def noise():
    return torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("name", ["dpm++", "ddim"])
def test_tables_are_diffusers_steps(name, strength):
    for calls in (*range(1, 51), 61, 103, 250):
        course = Course(name, calls, strength)

        def step(x, last, t, row):
            return next_image(x, velocity(x, t), last, row, name == "ddim")

        expected = follow_scheduler(course, noise(), velocity, torch.arange(3))
        found = follow_table(course, noise(), step)
        torch.testing.assert_close(found, expected, atol=3e-4, rtol=3e-4, msg=str(course))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_visits_as_many_levels_as_it_is_told(name):
    for calls in range(1, 1001):
        levels = timed_scheduler(name, calls, CPU).timesteps
        assert len(levels) == calls
        assert levels[-1] >= 0
        assert (levels.diff() < 0).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_last_level_leaves_no_noise(name):
    """At 61 calls diffusers alone goes on to level -1, which is the noisiest one."""
    target = noise().clamp(-1, 1)

    def towards(x, t):  # v of a network that knows the image
        alpha_bar = plan.alphas_cumprod[t]
        eps = (x - alpha_bar.sqrt() * target) / (1 - alpha_bar).sqrt()
        return alpha_bar.sqrt() * eps - (1 - alpha_bar).sqrt() * target

    for calls in (20, 61, 103):
        plan = timed_scheduler(name, calls, CPU)
        drawn = follow_scheduler(Course(name, calls, 1.0), noise(), towards, torch.arange(3))
        assert (drawn - target).abs().max() < 0.05, calls  # 1 and more at level -1


def test_a_course_starts_where_its_strength_says():
    assert first_level(Course("dpm++", 20, 1.0)) == 999
    assert first_level(Course("dpm++", 20, 0.5)) == 499
    levels, table = tabulate(Course("dpm++", 20, 0.5), CPU)
    assert (len(levels), len(table)) == (10, 10)
    assert levels[0] == 499
    assert Course("ddim", 20, 0.001).steps == 1
