"""Gates drawn: the numbers in the figure against shares worked out by hand."""

import re
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from quickstudy.multitask import (
    MultiGateMixture,
    NamedBatch,
    ProgressiveExtraction,
    SharedBottom,
    named_tasks,
    shared_tasks,
)
from quickstudy.networks import MLP, Inputs
from quickstudy.reporting import Panel, gate_panels, heat_panel
from quickstudy.reporting import gates as module_of_gates
from quickstudy.reporting.gates import mean_gates
from quickstudy.tasks import Bernoulli, Examples, Gaussian
from quickstudy.tasks.source import Sampler

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)).astype(np.float32)
OBJECTIVES = {"a": Gaussian(), "b": Bernoulli()}
Y = {"a": X[:, 0], "b": (X[:, 1] > 0).astype(np.float32)}


@pytest.fixture(autouse=True)
def warned() -> Iterator[None]:
    """What is empty must not be averaged."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def mixture(odds: dict[str, list[float]]) -> MultiGateMixture:
    """Gates that let the same through whatever comes: softmax of the logarithms of `odds`."""
    module = MultiGateMixture(
        Inputs(3), {task: Gaussian() for task in odds}, experts=len(next(iter(odds.values()))), hidden=(2,)
    )
    weight, bias = module.gates.parameters()
    with torch.no_grad():
        weight.zero_()
        bias.copy_(torch.tensor(list(odds.values())).log().reshape(bias.shape))
    return module


def texts(panel: Panel) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", panel.svg)


def test_every_cell_has_its_share() -> None:
    module = mixture({"a": [3.0, 1.0], "b": [1.0, 1.0]})
    (drawn,) = gate_panels(module, shared_tasks(X, {"a": Y["a"], "b": Y["a"]}).test, title="mine")
    assert [text for text in texts(drawn) if "." in text] == ["0.75", "0.25", "0.50", "0.50"]
    assert {"a", "b", "1", "2", "expert"} <= set(texts(drawn))
    assert drawn.title == "Gates of mine"
    assert "a: 1 0.75, 2 0.25; b: 1 0.5, 2 0.5." in drawn.svg
    assert "mean over 12 test examples" in drawn.caption
    assert "an even share would be 1/2" in drawn.caption


def test_the_mean_is_over_all_examples_that_have_a_target(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = MultiGateMixture(Inputs(3), OBJECTIVES, experts=3, hidden=(2,), dropout=0.5).train()
    missing = np.where(np.arange(60) % 3 == 0, np.nan, Y["b"])
    split = shared_tasks(X, {"a": Y["a"], "b": missing}, validation=0.2, test=0.5).test
    monkeypatch.setattr(module_of_gates, "_DRAWS", 7)
    found, counts = mean_gates(module, split)
    everything = split.draw(0, 30, 0)
    for number, task in enumerate(OBJECTIVES):
        x = everything.x[0][everything.mask[task][0]]
        odds = (x @ module.gates.weight[number] + module.gates.bias[number]).detach()
        np.testing.assert_allclose(found[task], odds.softmax(-1).mean(0).numpy(), atol=1e-6)
        assert counts[task] == len(x)
    assert counts["a"] == 30 > counts["b"] > 0
    assert module.training  # asked in evaluation mode, and left as it was


def test_experts_of_a_task_are_told_from_shared_ones() -> None:
    module = ProgressiveExtraction(Inputs(3), OBJECTIVES, own=2, shared=1, levels=2, hidden=(4,))
    panels = gate_panels(module, shared_tasks(X, Y).test, title="PLE")
    assert [panel.title for panel in panels] == ["Gates of PLE, level 1 of 2", "Gates of PLE, level 2 of 2"]
    for level, drawn in enumerate(panels):
        assert [text for text in texts(drawn) if "own" in text or "shared" in text] == ["own 1", "own 2", "shared 1"]
        assert "own experts are others for every task" in drawn.caption
        usage = module.gate_usage(shared_tasks(X, Y).test.draw(0, 12, 0), level)
        for share in usage.values():
            assert {f"{float(value):.2f}" for value in share} <= set(texts(drawn))


class Silent(Sampler[NamedBatch]):
    """A split in which one task has nothing."""

    name = "test"
    size = 4

    def draw(self, first: int, count: int, seed: int) -> NamedBatch:
        x, y = torch.zeros(1, count, 3), torch.zeros(1, count)
        there = torch.ones(1, count, dtype=torch.bool)
        return {"a": Examples(x, y, there), "b": Examples(x, y, ~there)}


def test_a_task_without_examples_has_an_empty_row() -> None:
    (drawn,) = gate_panels(mixture({"a": [3.0, 1.0], "b": [1.0, 1.0]}), Silent())
    assert [text for text in texts(drawn) if "." in text] == ["0.75", "0.25"]
    assert "b: 1 none, 2 none." in drawn.svg
    assert "mean over 0 to 4 test examples" in drawn.caption


def test_one_task_alone() -> None:
    (drawn,) = gate_panels(mixture({"a": [1.0, 4.0]}), named_tasks({"a": (X, Y["a"])}).test)
    assert [text for text in texts(drawn) if "." in text] == ["0.20", "0.80"]


def test_many_tasks_stand_by_the_expert_that_they_use_most() -> None:
    odds = {f"task{number}": [1.0, 1.0 + number % 3, 2.0] for number in range(20)}
    (drawn,) = gate_panels(mixture(odds), shared_tasks(X, dict.fromkeys(odds, Y["a"])).test)
    said = [text for text in texts(drawn) if text.startswith("task")]
    assert sorted(said) == sorted(odds)
    assert [int(task[4:]) % 3 for task in said] == [2] * 6 + [1] * 7 + [0] * 7
    assert not any(re.fullmatch(r"0\.\d\d", text) for text in texts(drawn))  # no room for numbers
    assert f"the strongest colour is {3 / 6:.2f}" in drawn.caption


def test_without_gates_there_is_nothing_to_draw() -> None:
    assert gate_panels(SharedBottom(MLP(3, (4,)), OBJECTIVES), shared_tasks(X, Y).test) == []


def test_a_map_of_nothing_and_one_too_large_to_say() -> None:
    empty = heat_panel("empty", "Nothing", np.full((1, 2), np.nan), ["row"], ["one", "two"])
    assert "Nothing, from row to column: row: one none, two none." in empty.svg
    values = np.arange(200.0).reshape(10, 20) - 100
    values[3] = np.nan
    large = heat_panel(
        "large", "Much", values, [f"row {number}" for number in range(10)], [str(number) for number in range(20)]
    )
    assert "row 0: lowest -1e+02 at 0, highest -81 at 19; " in large.svg
    assert "row 3: none; " in large.svg


def test_signs_are_drawn_in_two_colours() -> None:
    drawn = heat_panel("signs", "Signs", np.array([[0.5, -0.25]]), ["row"], ["one", "two"])
    assert {"+0.5", "−0.25"} <= set(texts(drawn))
    assert "var(--good)" in drawn.svg
    assert "var(--bad)" in drawn.svg
    plain = heat_panel("plain", "Plain", np.array([[0.5, 0.25]]), ["row"], ["one", "two"], signed=False)
    assert "var(--good)" not in plain.svg
    assert {"0.50", "0.25"} <= set(texts(plain))
