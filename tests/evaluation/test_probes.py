"""Failure probes: what is made harder is what is meant, for everyone alike, and nothing else changes."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from quickstudy.evaluation import Probe, evaluate, probe
from quickstudy.evaluation.perturbations import (
    PERTURBATIONS,
    Perturbation,
    first_queries,
    harder,
    keep_share,
    occlude,
    perturbations_for,
    rotate,
)
from quickstudy.learners import NearestNeighbour, PrototypicalNetwork
from quickstudy.networks import MLP, PerExample
from quickstudy.tasks import Examples, Gaussian, Split, TaskBatch, from_arrays, glyphs, sinusoids


def named(name: str, unit: str = "") -> Perturbation:
    return next(each for each in PERTURBATIONS if each.name == name and unit in each.unit)


def drawn(
    split: Split, perturbation: Perturbation | None, level: float, queries: int, first: int, count: int, seed: int
) -> TaskBatch:
    plain = first_queries(split.draw(first, count, seed), queries)
    if perturbation is None:
        return plain
    return harder(plain, perturbation, level, first=first, seed=seed, queries=queries)


def images(shape: tuple[int, ...] = (2, 3, 1, 8, 8)) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
def test_quarter_turns_are_exact(quarter: int) -> None:
    x = images()
    assert torch.equal(rotate(x, 90.0 * quarter), torch.rot90(x, quarter, (-2, -1)))


@pytest.mark.parametrize("shape", [(1, 2, 1, 9, 9), (1, 2, 3, 8, 8)])
def test_turning_with_interpolation_comes_to_the_same(shape: tuple[int, ...]) -> None:
    x = images(shape)
    torch.testing.assert_close(rotate(x, 90.0001), torch.rot90(x, 1, (-2, -1)), atol=1e-4, rtol=0)
    torch.testing.assert_close(rotate(x, 360.0001), x, atol=1e-4, rtol=0)


def test_oblong_images_keep_their_shapes_when_turned() -> None:
    """A disk in the middle looks the same from every side, also where pixels are more in one direction."""
    rows, columns = torch.meshgrid(torch.arange(21.0) - 10, torch.arange(41.0) - 20, indexing="ij")
    disk = torch.sigmoid(4 - (rows**2 + columns**2).sqrt())[None, None, None]
    for degrees in (15.0, 60.0, 90.0):
        torch.testing.assert_close(rotate(disk, degrees), disk, atol=0.03, rtol=0)


def test_a_corner_goes_counterclockwise() -> None:
    x = torch.zeros(1, 1, 1, 9, 9)
    x[..., 4, 8] = 1.0  # right of the centre
    turned = rotate(x, 45.0)[0, 0, 0]
    row, column = divmod(int(turned.argmax()), 9)
    assert row < 4 < column


def test_the_square_is_grey_and_as_large_as_it_should_be() -> None:
    x = torch.zeros(2, 50, 3, 12, 16)
    uniform = torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    covered = occlude(x, 0.5, uniform)
    assert set(covered.unique().tolist()) == {0.0, 0.5}
    assert ((covered[:, :, 0] == 0.5).sum((-2, -1)) == 36).all()
    assert (covered[:, :, 0] == covered[:, :, 2]).all()
    corners = {tuple((image == 0.5).nonzero()[0].tolist()) for image in covered.flatten(0, 1)[:, 0]}
    assert len(corners) > 20


@pytest.mark.parametrize("share", [1.0, 0.5, 0.25])
def test_what_is_kept_of_a_support(share: float) -> None:
    y = torch.tensor([[0, 1, 0, 1, 0, 1, 1, 0]])
    mask = torch.tensor([[True] * 7 + [False]])
    examples = Examples(torch.zeros(1, 8, 2), y, mask)
    kept = keep_share(examples, share, classes=True).mask
    for label in (0, 1):
        of_class = [i for i in range(7) if y[0, i] == label]
        expected = of_class[: math.ceil(share * len(of_class))]
        assert [i for i in of_class if kept[0, i]] == expected
    assert not kept[0, 7]
    assert keep_share(examples, share, classes=False).mask.sum() == math.ceil(share * 7)


def sources() -> dict[str, Split]:
    generator = np.random.default_rng(0)
    uneven = [
        (generator.normal(size=(n, 3)), generator.integers(0, 2, n)) for n in (6, 9, 14, 30, 8, 11, 20, 17, 40, 5)
    ]
    return {
        "images": glyphs().episodes(3, 2, 3).test,
        "curves": sinusoids(5, queries=6).test,
        "tables": from_arrays(uneven, validation=0.2, test=0.6).test,
    }


@pytest.mark.parametrize("kind", ["images", "curves", "tables"])
def test_tasks_do_not_depend_on_their_batch(kind: str) -> None:
    split = sources()[kind]
    found = perturbations_for(split.draw(0, 6, 0))
    assert len(found) == {"images": 4, "curves": 2, "tables": 2}[kind]
    for perturbation in found:
        together = drawn(split, perturbation, perturbation.levels[-1], 5, 0, 6, 3)
        plain = drawn(split, None, 0.0, 5, 0, 6, 3)
        for task in range(6):
            alone = drawn(split, perturbation, perturbation.levels[-1], 5, task, 1, 3)
            real = alone.query.mask[0]
            n = len(real)
            torch.testing.assert_close(together.query.x[task, :n][real], alone.query.x[0][real])
            assert torch.equal(together.query.y[task, :n][real], plain.query.y[task, :n][real])
        changed, same = (together.query, together.support)
        if perturbation.changes == "support":
            assert together.support.mask.sum() < plain.support.mask.sum()
            assert torch.equal(changed.x, plain.query.x)
        else:
            assert torch.equal(same.x, plain.support.x)
            assert not torch.equal(changed.x, plain.query.x)
            assert changed.x.dtype == plain.query.x.dtype


@pytest.mark.parametrize("kind", ["images", "curves", "tables"])
def test_the_first_level_changes_nothing(kind: str) -> None:
    split = sources()[kind]
    plain = split.draw(0, 3, 0)
    for perturbation in perturbations_for(plain):
        same = drawn(split, perturbation, perturbation.levels[0], 1000, 0, 3, 0)
        for before, after in ((plain.query, same.query), (plain.support, same.support)):
            assert torch.equal(before.x, after.x)
            assert torch.equal(before.mask, after.mask)


def test_noise_has_the_size_it_says() -> None:
    split = sinusoids(20, queries=20).test
    level = 0.3
    noisy = drawn(split, named("noise", "feature"), level, 20, 0, 200, 0)
    plain = split.draw(0, 200, 0)
    both = torch.cat([plain.support.x, plain.query.x], 1)[..., 0].numpy()
    expected = level * both.std(1).mean()
    assert float((noisy.query.x - plain.query.x).std()) == pytest.approx(expected, rel=0.03)
    assert abs(float((noisy.query.x - plain.query.x).mean())) < 0.05


def test_pixels_stay_pixels() -> None:
    noisy = drawn(sources()["images"], named("noise", "pixels"), 0.4, 5, 0, 4, 0)
    assert 0.0 <= float(noisy.query.x.min()) < float(noisy.query.x.max()) <= 1.0


def test_scores_of_tasks_as_they_are_stand_first() -> None:
    split = sources()["images"]
    learner = NearestNeighbour()
    found = probe(learner, split, "accuracy", tasks=20, queries=9, device="cpu")
    plain = evaluate(learner, split, tasks=20, device="cpu").values["accuracy"]
    assert {each.name for each in found} == {"rotation", "noise", "occlusion", "fewer examples"}
    for each in found:
        assert each.values[0].mean == pytest.approx(plain.mean(), abs=0)
        assert len(each.values) == len(each.levels)
        assert all(value.tasks == 20 for value in each.values)
        assert Probe.from_json(each.to_json()) == each
    turned = next(each for each in found if each.name == "rotation")
    assert min(value.mean for value in turned.values[2:]) < turned.values[0].mean
    again = probe(learner, split, "accuracy", tasks=20, queries=9, batch_size=3, device="cpu")
    for first, second in zip(found, again, strict=True):
        assert [value.mean for value in second.values] == pytest.approx([value.mean for value in first.values])


def test_a_learner_that_turns_away_its_head_is_not_hurt_by_turning() -> None:
    """An embedding of the mean brightness knows nothing of directions, so quarter turns change no score at all."""

    class Brightness(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(-3).sort(-1).values.mean(-1, keepdim=True)  # sorted: to the last bit

    learner = PrototypicalNetwork(PerExample(Brightness(), 1))
    found = probe(learner, sources()["images"], "accuracy", tasks=10, queries=9, device="cpu")
    values = dict(zip(found[0].levels, found[0].values, strict=True))
    assert found[0].name == "rotation"
    assert values[90.0] == values[180.0] == values[0.0]


def test_regression_is_probed_by_its_error() -> None:
    learner = NearestNeighbour(likelihood=Gaussian())
    found = probe(learner, sinusoids(8, queries=10).test, "mse", tasks=60, device="cpu")
    assert [each.name for each in found] == ["noise", "fewer examples"]
    for each in found:
        assert each.values[-1].mean > each.values[0].mean


def test_trees_and_whole_numbers_have_no_probes_of_their_inputs() -> None:
    y, mask = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
    for x in ({"a": torch.zeros(2, 3, 4)}, torch.zeros(2, 3, 4, dtype=torch.int64)):
        examples = Examples(x, y, mask)
        assert {each.changes for each in perturbations_for(TaskBatch(examples, examples))} == {"support"}


def test_wrong_values_are_named() -> None:
    split = sources()["curves"]
    with pytest.raises(ValueError, match="level must be one of 0.0, 15.0, 30.0, 60.0, 90.0, 180.0 for rotation, got 7"):
        drawn(split, named("rotation"), 7.0, 5, 0, 1, 0)
    with pytest.raises(ValueError, match="queries is 2, but the tasks have up to 6"):
        harder(split.draw(0, 1, 0), named("noise", "feature"), 0.1, first=0, seed=0, queries=2)
    with pytest.raises(ValueError, match="tasks, queries and batch_size must be at least 1, got 5, 0 and 32"):
        probe(NearestNeighbour(likelihood=Gaussian()), split, "mse", tasks=5, queries=0, device="cpu")
    with pytest.raises(ValueError, match="metric must be one of mse, nll, got 'accuracy'"):
        probe(NearestNeighbour(MLP(1, (4,)), Gaussian()), split, "accuracy", tasks=2, device="cpu")


def test_what_is_standardised_is_not_taken_for_pixels() -> None:
    batch = glyphs().episodes(5, 2, 2).test.draw(0, 3, 0)
    standardised = batch.map(lambda leaf: 4 * leaf - 2 if leaf.is_floating_point() else leaf)
    applied = [{each.name: each.changes for each in perturbations_for(b)} for b in (batch, standardised)]
    assert set(applied[0].values()) == {"queries", "support"}
    assert set(applied[1].values()) == {"support"}
