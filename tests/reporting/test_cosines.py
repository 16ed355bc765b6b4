"""Cosines of gradients drawn: numbers against gradients taken one by one."""

import re

import numpy as np
import pytest
import torch

from quickstudy.multitask import SeparateNetworks, SharedBottom, shared_tasks
from quickstudy.networks import MLP
from quickstudy.reporting import cosine_panels, final_cosine_panel
from quickstudy.reporting.cosines import between_tasks
from quickstudy.tasks import Gaussian

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
TASKS = shared_tasks(X, {"a": X[:, 0], "b": X[:, 0] + X[:, 1], "c": -X[:, 0]})


def bottom(seed: int, tasks: str = "abc", hidden: tuple[int, ...] = (5, 4)) -> SharedBottom:
    torch.manual_seed(seed)
    return SharedBottom(MLP(3, hidden), {task: Gaussian() for task in tasks})


def test_the_end_is_what_gradients_say_one_by_one() -> None:
    batch = TASKS.train.draw(0, 24, 0)
    modules = {"one": bottom(0), "two": bottom(1)}
    drawn = final_cosine_panel(modules, batch)
    rows = []
    for module in modules.values():
        layers = [layer for layer in module.network.modules() if isinstance(layer, torch.nn.Linear)]
        losses = list(module(batch).values())
        row = []
        for layer in layers:
            parts = list(layer.parameters())
            gradients = [torch.autograd.grad(loss, parts, retain_graph=True) for loss in losses]
            flat = [torch.cat([each.flatten() for each in those]) for those in gradients]
            pairs = [torch.cosine_similarity(flat[i], flat[j], 0) for i, j in ((0, 1), (0, 2), (1, 2))]
            row.append(float(torch.stack(pairs).mean()))
        rows.append(row)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn.svg)
    for value in np.array(rows).ravel():
        assert f"{value:+.2g}".replace("-", "−") in texts
    assert {"one", "two"} <= set(texts)
    assert f"here from {np.min(rows):+.2f} to {np.max(rows):+.2f}".replace("-", "−") in drawn.caption
    assert "mean over pairs of tasks, on 24 examples; layers are those of network" in drawn.caption


def test_over_a_training_what_is_not_defined_stays_empty() -> None:
    found = {"tasks": ["a", "b"], "layers": ["net.first.0", "net.second"], "steps": [0, 5, 10]}
    card = {"cosines": {"equal": {**found, "values": [[0.5, -0.25], [None, 0.125], [1.0, None]]}}}
    (drawn,) = cosine_panels(card)
    assert drawn.title == "Cosines of gradients over training, equal"
    assert "first.0: 0 0.5, 5 none, 10 1; second: 0 -0.25, 5 0.12, 10 none." in drawn.svg
    assert drawn.caption.startswith("between the two tasks, on the training batch of a step; layers are those of net;")
    assert "here from −0.25 to +1.00" in drawn.caption
    (none,) = cosine_panels({"cosines": {"equal": {**found, "values": [[None, None]] * 3}}})
    assert none.caption.endswith("none is defined")
    assert cosine_panels({}) == []


def test_pairs_are_of_different_tasks() -> None:
    cosines = torch.tensor([[1.0, 0.5, float("nan")], [0.5, 1.0, 0.1], [float("nan"), 0.1, 1.0]])
    np.testing.assert_allclose(between_tasks(cosines), 0.3, atol=1e-7)
    assert np.isnan(between_tasks(torch.ones(2, 1, 1))).all()  # one task has no one to agree with


def test_bad_input_is_named() -> None:
    batch = TASKS.train.draw(0, 8, 0)
    with pytest.raises(ValueError, match="modules is empty"):
        final_cosine_panel({}, batch)
    with pytest.raises(ValueError, match="'two' has others"):
        final_cosine_panel({"one": bottom(0), "two": bottom(0, hidden=(5,))}, batch)
    with pytest.raises(ValueError, match="share nothing"):
        final_cosine_panel({"one": SeparateNetworks(MLP(3, (4,)), {task: Gaussian() for task in "abc"})}, batch)
