"""A fit drawn step by step is what the learner predicts there."""

import re

import pytest
import torch

from quickstudy.learners import MAML, GradientLearner, NearestNeighbour
from quickstudy.networks import MLP
from quickstudy.reporting import Panel, draw_fits, fits, one_dimensional
from quickstudy.tasks import Categorical, Examples, Gaussian, TaskBatch, glyphs, sinusoids


@pytest.fixture
def learner() -> MAML:
    return MAML(MLP(1, (16, 16)), Gaussian(), 3, 0.05)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What the curves are drawn from: heading, x, fits by step, truth, support points …"""
    found = []
    curves = fits._curves
    monkeypatch.setattr(fits, "_curves", lambda *drawn: found.append(drawn) or curves(*drawn))
    return found


def words(panel: Panel) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]+)</text>", panel.svg)


def test_lines_are_the_predictions_after_so_many_steps(learner: MAML, seen: list[tuple]) -> None:
    split = sinusoids((2, 6), queries=20, noise=0.1).test
    batch = split.draw(4, 3, 1)
    panel = draw_fits(learner.train(), batch, lambda x: split.truth(4, x, seed=1))
    assert learner.training
    ((_, x, lines, truth, (given_x, given_y), *_),) = seen
    assert list(lines) == [0, 1, 2, 3]
    real = batch.support.mask[0]
    one = Examples.of(batch.support.x[:1, real], batch.support.y[:1, real])
    grid = torch.from_numpy(x).float()[None, :, None]
    assert given_x.tolist() == pytest.approx(one.x.flatten().tolist())
    assert given_y.tolist() == pytest.approx(one.y.flatten().tolist())
    assert truth.tolist() == pytest.approx(split.truth(4, grid[0, :, 0], 1).tolist(), abs=1e-5)
    for steps, line in lines.items():
        shorter = MAML(learner.network, Gaussian(), steps, 0.05)
        shorter.load_state_dict(learner.state_dict())
        expected = shorter.eval().predict(shorter.adapt(one), grid).mean.detach().flatten()
        assert line.tolist() == pytest.approx(expected.tolist(), abs=1e-4)
        error = shorter.predict(shorter.adapt(one), batch.query.x[:1]).mean.sub(batch.query.y[:1]).square().mean()
        assert (f"{error:.3g}" in panel.caption) == (steps in (0, 3))
    assert {"truth", "support", "0 steps", "1 step", "3 steps"} <= set(words(panel))


@pytest.mark.parametrize(
    ("made", "drawn"), [(0, [0]), (4, [0, 1, 2, 3, 4]), (5, [0, 1, 2, 3, 5]), (100, [0, 1, 5, 22, 100])]
)
def test_of_many_steps_some_are_drawn(made: int, drawn: list[int], seen: list[tuple]) -> None:
    learner = MAML(MLP(1, (4,)), Gaussian(), made, 1e-3)
    panel = draw_fits(learner, sinusoids(5).test.draw(0, 1, 0))
    assert list(seen[0][2]) == drawn
    assert "truth" not in words(panel)
    draw_fits(learner, sinusoids(5).test.draw(0, 1, 0), steps=[made, 0, made])
    assert list(seen[1][2]) == list(dict.fromkeys([made, 0]))


def test_several_learners_stand_below_one_another(learner: MAML, seen: list[tuple]) -> None:
    other = MAML(MLP(1, (4,)), Gaussian(), 1, 0.05)
    batch = sinusoids(0).test.draw(0, 1, 0)
    panel = draw_fits(
        {"one": learner, "another": other}, batch, styles={"one": 4, "another": 2}, title="Both", name="b"
    )
    assert [each[0] for each in seen] == ["one", "another"]
    assert [list(each[2]) for each in seen] == [[0, 1, 2, 3], [0, 1]]
    assert {"one", "another"} <= set(words(panel))
    assert panel.title == "Both"
    assert "A task of 0 support points." in panel.svg
    assert set(re.findall(r"--series-\d", panel.svg)) == {"--series-4", "--series-2"}
    assert all(place.startswith("b-") for place in re.findall(r' id="([^"]+)"', panel.svg))


def test_inputs_without_an_axis_of_features(seen: list[tuple]) -> None:
    """x `[task, n]` is one number per example just as `[task, n, 1]` is."""
    learner = MAML(MLP(1, (4,)), Gaussian(), 1, 0.05)
    batch = sinusoids(3, queries=8).test.draw(0, 1, 0)

    def narrow(examples: Examples) -> Examples:
        return Examples(examples.x[..., 0], examples.y, examples.mask)

    wide = draw_fits(learner, batch)
    assert draw_fits(learner, TaskBatch(narrow(batch.support), narrow(batch.query))).svg == wide.svg


def test_tasks_that_are_curves_are_known() -> None:
    assert one_dimensional(sinusoids(3).test.draw(0, 1, 0))
    x, y = torch.zeros(1, 3, 2), torch.zeros(1, 3)
    assert not one_dimensional(TaskBatch(Examples.of(x, y), Examples.of(x, y)))
    assert not one_dimensional(TaskBatch(Examples.of(y, x), Examples.of(y, x)))
    trees = Examples.of({"a": y}, y)
    assert not one_dimensional(TaskBatch(trees, trees))


def test_what_is_wrong_is_named(learner: MAML) -> None:
    batch = sinusoids(3).test.draw(0, 1, 0)
    with pytest.raises(ValueError, match="learners is empty"):
        draw_fits({}, batch)
    with pytest.raises(ValueError, match="steps must be between 0 and 3, which the learner makes, got 4"):
        draw_fits(learner, batch, steps=[1, 4])
    with pytest.raises(ValueError, match="steps is empty"):
        draw_fits(learner, batch, steps=[])
    classes: GradientLearner = MAML(MLP(784, (4,)), Categorical(3), 1, 0.1)
    letters = glyphs().episodes(3, 1, 1).test.draw(0, 1, 0)
    with pytest.raises(ValueError, match="learners must be for regression, got MAML for classes"):
        draw_fits(classes, letters)
    with pytest.raises(ValueError, match="batch must be of tasks with one input and one target"):
        draw_fits(learner, letters)
    bare = TaskBatch(batch.support, Examples(batch.query.x, batch.query.y, torch.zeros_like(batch.query.mask)))
    with pytest.raises(ValueError, match="batch has no query in its first task"):
        draw_fits(learner, bare)


@pytest.mark.unchecked
def test_learners_without_an_inner_loop_are_refused() -> None:
    with pytest.raises(TypeError, match="learners must be GradientLearners such as MAML, .* got NearestNeighbour"):
        draw_fits({"a": NearestNeighbour(likelihood=Gaussian())}, sinusoids(3).test.draw(0, 1, 0))  # type: ignore[dict-item]
