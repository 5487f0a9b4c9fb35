"""The sampler that trainer, Space and handler share."""

import numpy as np
import pytest

from trainer.sampling.noise_schedule import TIMESTEPS, alphas_cumprod
from trainer.sampling.sampler import Pipeline
from trainer.sampling.solver import SOLVERS, Solver, table


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline.load("tiny")


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_a_solver_comes_to_the_picture_that_the_noise_hides(solver: Solver, steps: int) -> None:
    rows = table(solver, steps)
    clean, noise = np.random.default_rng(0).standard_normal((2, 64))
    timestep, alpha, sigma = rows[0, :3]
    assert timestep == ((steps - 1) * (TIMESTEPS // steps) + 1 if solver == "ddim" else TIMESTEPS - 1)
    x, before = alpha * clean + sigma * noise, np.zeros(64)
    for timestep, alpha, sigma, carry, now, earlier in rows:
        np.testing.assert_allclose(alpha**2 + sigma**2, 1.0, atol=1e-5)
        assert abs(alpha**2 - alphas_cumprod()[int(timestep)]) < 2e-3
        np.testing.assert_allclose(x, alpha * clean + sigma * noise, atol=1e-4)
        estimate = (x - sigma * noise) / alpha
        x, before = carry * x + now * estimate + earlier * before, estimate
    left = 1.0 - alphas_cumprod()[0] if solver == "ddim" else 0.0
    np.testing.assert_allclose(x, np.sqrt(1.0 - left) * clean + np.sqrt(left) * noise, atol=1e-3)


def test_the_first_and_the_last_step_look_at_no_step_before() -> None:
    assert not table("ddim", 20)[:, 5].any()
    for solver in ("dpm++", "dpm++karras"):
        before = table(solver, 20)[:, 5]
        assert before[1:-1].all()
        assert not before[[0, -1]].any()


def test_one_loop_or_step_by_step_alone_or_among_others(pipeline: Pipeline) -> None:
    told: list[tuple[int, int]] = []
    whole = pipeline.draw("a large red circle", num_images=3, steps=4, seed=5)
    stepped = pipeline.draw(
        "a large red circle", num_images=3, steps=4, seed=5, callback=lambda step, of: told.append((step, of))
    )
    alone = pipeline.draw("a large red circle", steps=4, seed=6)

    assert np.array_equal(whole, stepped)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert np.abs(whole[1].astype(int) - alone[0]).max() <= 2, "the same picture, but for the last bit of a float"


def test_sizes_share_the_weights_and_bad_ones_are_refused(pipeline: Pipeline) -> None:
    assert pipeline.draw("a blue star", steps=1, width=96, height=64).shape == (1, 64, 96, 3)
    for wrong in ({"width": 70}, {"height": 32}, {"width": 2048}):
        with pytest.raises(ValueError, match="width and height must be multiples of 16 from 64 to 1024"):
            pipeline.draw("a blue star", **wrong)
    with pytest.raises(ValueError, match=r"there is no solver euler; there are dpm\+\+"):
        pipeline.draw("a blue star", solver="euler")  # type: ignore[arg-type]


def test_what_is_too_much_at_once_comes_in_batches(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    together = pipeline.draw("a blue star", num_images=3, steps=2, seed=1)
    monkeypatch.setattr("trainer.sampling.sampler.BATCH_PIXELS", 2 * 64 * 64)
    told: list[tuple[int, int]] = []
    apart = pipeline.draw("a blue star", num_images=3, steps=2, seed=1, callback=lambda *now: told.append(now))

    assert np.abs(together.astype(int) - apart).max() <= 2
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_without_guidance_half_the_work_draws_what_the_prompt_alone_asks(pipeline: Pipeline) -> None:
    alone = pipeline.draw("a large red circle", steps=4, guidance_scale=1, seed=3)
    # With twice the same context, guidance changes nothing, whatever its scale.
    same = pipeline.draw("a large red circle", negative_prompt="a large red circle", steps=4, guidance_scale=5, seed=3)
    assert np.abs(alone.astype(int) - same).max() <= 2
