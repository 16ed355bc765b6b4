"""Drawn tasks say what the learners said."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from quickstudy.evaluation import SinusoidOracle
from quickstudy.learners import InContextTransformer, Learner, NearestNeighbour
from quickstudy.networks import MLP
from quickstudy.reporting import draw_episode
from quickstudy.reporting.pictures import as_data_uri
from quickstudy.tasks import Bernoulli, Categorical, Examples, Gaussian, TaskBatch, from_arrays, sinusoids

from .pages import learners, shapes


def test_images_show_what_was_said() -> None:
    batch, said = shapes().test.draw(3, 2, 0), learners()
    episode = draw_episode(said, batch, "one task")
    assert (episode.kind, len(episode.support)) == ("images", 6)
    assert [tile.true for tile in episode.support] == ["A", "A", "B", "B", "C", "C"]
    for reading, learner in zip(episode.readings, said.values(), strict=True):
        probs = learner.predict(learner.adapt(batch.support, batch.classes), batch.query.x).probs[0].detach()
        tiles = reading.tiles
        assert len(tiles) == 10
        known = {
            as_data_uri(image): ("ABC"[int(y)], "ABC"[int(p.argmax())], float(p.max()))
            for image, y, p in zip(batch.query.x[0], batch.query.y[0], probs, strict=True)
        }
        for tile in tiles:
            true, label, confidence = known[tile.picture]
            assert (tile.true, tile.label) == (true, label)
            assert tile.confidence == pytest.approx(confidence, abs=1e-6)
            assert tile.right == (true == label)
        right = sum(bool(tile.right) for tile in tiles)
        assert reading.score == f"{right} of 10 right"


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_pictures_hold_the_pixels(channels: int) -> None:
    image = torch.rand(channels, 5, 7)
    head, _, body = as_data_uri(image).partition(",")
    assert head == "data:image/png;base64"
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))), dtype=float)
    expected = image.numpy() if channels != 2 else image.mean(0, keepdim=True).numpy()
    np.testing.assert_allclose(read if read.ndim == 3 else read[..., None], 255 * np.moveaxis(expected, 0, -1), atol=1)


def test_large_pictures_are_made_small() -> None:
    body = as_data_uri(torch.rand(3, 400, 200)).partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(body))).size == (48, 96)


def test_curves_show_every_learner() -> None:
    batch = sinusoids(5, queries=20).test.draw(0, 1, 0)
    said: dict[str, Learner] = {"oracle": SinusoidOracle(0.0), "near": NearestNeighbour(likelihood=Gaussian())}
    episode = draw_episode(said, batch, "one task", "here")
    assert episode.kind == "curves"
    assert not episode.sure
    near = said["near"]
    expected = near.predict(near.adapt(batch.support), batch.query.x).mean.sub(batch.query.y).square().mean()
    assert episode.readings[1].score == f"mean squared error {expected:.3g}"
    for number, reading in enumerate(episode.readings):
        assert reading.panel is not None
        assert set(re.findall(r' id="([a-z]+-\d)', reading.panel.svg)) == {f"here-{number}"}


def table_task(y: torch.Tensor, classes: torch.Tensor | None) -> TaskBatch:
    x = torch.randn(1, y.shape[1], 5)
    support, query = Examples.of(x[:, :6], y[:, :6]), Examples.of(x[:, 6:], y[:, 6:])
    query.mask[0, -1] = False
    return TaskBatch(support, query, classes)


def test_tables_of_classes() -> None:
    task = table_task(torch.arange(12)[None] % 3, torch.ones(1, 3, dtype=torch.bool))
    learner = InContextTransformer(MLP(5, (8,)), Categorical(3), width=8, layers=1)
    episode = draw_episode({"attention": learner}, task, "one task")
    assert episode.head == ["class", "attention", "input 1", "input 2", "input 3"]
    assert len(episode.rows) == 5, "one of six queries is padding"
    probs = learner.predict(learner.adapt(task.support, task.classes), task.query.x, task.query.mask).probs[0].detach()
    for i, row in enumerate(episode.rows):
        choice = int(probs[i].argmax())
        assert row[0].text == "ABC"[int(task.query.y[0, i])]
        assert row[1].text == f"{'ABC'[choice]} {100 * float(probs[i, choice]):.0f}%"
        assert row[1].right == (choice == int(task.query.y[0, i]))


def test_tables_of_yes_and_no_and_of_numbers() -> None:
    yes = table_task((torch.arange(12.0)[None] % 2), None)
    episode = draw_episode({"a": InContextTransformer(MLP(5, (8,)), Bernoulli(), width=8, layers=1)}, yes, "t")
    assert {row[0].text for row in episode.rows} == {"A", "B"}
    assert all(row[1].right is not None for row in episode.rows)
    numbers = from_arrays([(np.random.default_rng(i).normal(size=(8, 2)), np.arange(8.0) / 8) for i in range(10)])
    batch = numbers.test.draw(0, 1, 0)
    learner = NearestNeighbour(likelihood=Gaussian())
    episode = draw_episode({"near": learner}, batch, "t")
    assert episode.head == ["true value", "near", "input 1", "input 2"]
    means = learner.predict(learner.adapt(batch.support), batch.query.x).mean[0]
    assert [row[1].text for row in episode.rows] == [f"{mean:.3g}" for mean in means.tolist()]
    assert all(cell.right is None for row in episode.rows for cell in row)
