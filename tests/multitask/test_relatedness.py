"""The dial of relatedness: what is known of its tasks in closed form."""

import math

import pytest
import torch
from torch.testing import assert_close

from quickstudy.multitask import RelatedTasks, related_regression


def linear(p: float | None, **options: object) -> RelatedTasks:
    return related_regression(p, waves=0, held_out=4000, scale=2.0, inputs=6, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("p", [1.0, 0.5, 0.0, -1.0])
def test_weights_have_the_cosine_that_is_asked_for(p: float) -> None:
    tasks = linear(p)
    first, second = tasks.weights
    assert_close(first.norm(), torch.tensor(2.0))
    assert_close(second.norm(), torch.tensor(2.0))
    assert_close(first @ second / 4, torch.tensor(p), atol=1e-6, rtol=0)
    x = tasks.test.draw(0, 4000, 0)["first"].x[0]
    labels = torch.stack([tasks.truth(task, x) for task in ("first", "second")])
    assert abs(torch.corrcoef(labels)[0, 1] - p) < 0.05


def test_targets_are_the_truth_and_noise() -> None:
    tasks = related_regression(0.5, waves=3, held_out=4000, noise=0.3)
    for task, those in tasks.test.draw(0, 4000, 0).items():
        x, y = those.x[0], those.y[0]
        w, plain = tasks.weights[("first", "second").index(task)], x.new_zeros(len(x))
        for a, b in zip(tasks.alpha, tasks.beta, strict=True):
            plain = plain + torch.sin(a * (x @ w) + b)
        assert_close(tasks.truth(task, x), x @ w + plain)
        assert abs((y - tasks.truth(task, x)).std() - 0.3) < 0.02
        assert abs(x.std() - 1) < 0.02


def test_only_the_relation_changes() -> None:
    one, other = (related_regression(p).train.draw(0, 100, 0) for p in (1.0, 0.0))
    assert torch.equal(one["first"].x, other["first"].x)
    assert torch.equal(one["first"].y, other["first"].y)
    assert torch.equal(one["second"].x, other["second"].x)
    assert not torch.equal(one["second"].y, other["second"].y)


def test_random_labels_have_the_spread_and_nothing_else() -> None:
    for waves in (0, 3):
        tasks = related_regression(None, waves=waves, held_out=4000, scale=2.0, inputs=6)
        batch = tasks.test.draw(0, 4000, 0)
        first, second = (batch[task].y[0] for task in ("first", "second"))
        assert abs(second.std() / first.std() - 1) < 0.05
        design = torch.cat([batch["second"].x[0], torch.ones(4000, 1)], 1)
        fitted = design @ torch.linalg.lstsq(design, second[:, None]).solution
        assert fitted.var() / second.var() < 4 * 7 / 4000
        assert not tasks.truth("second", batch["second"].x[0]).any()
    assert math.isclose(float(linear(None).test.draw(0, 4000, 0)["second"].y.std()), 2.0, rel_tol=0.05)


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: related_regression(1.5), "correlation must be in"),
        (lambda: related_regression(0.0, inputs=1), "inputs at least 2"),
        (lambda: related_regression(0.0, noise=-1.0), "noise not negative"),
        (lambda: related_regression(0.0).truth("third", torch.zeros(20)), "task must be 'first' or 'second'"),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
