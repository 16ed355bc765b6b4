from pathlib import Path

import numpy as np
import pytest
import torch

import quickstudy as qs
from quickstudy.evaluation import compare, interval, load_scores, save_scores, summarize
from quickstudy.learners import CompletePooling, NearestNeighbour, PrototypicalNetwork
from quickstudy.networks import MLP
from quickstudy.tasks import Categorical, Gaussian, from_arrays, sinusoids


def source(count: int = 40) -> qs.tasks.TaskSource:
    """Uneven tasks of two clusters each, labels their own."""
    generator = np.random.default_rng(0)
    tasks = []
    for _ in range(count):
        n = int(generator.integers(8, 20))
        y = np.arange(n) % 2
        centres = 3 * generator.normal(size=(2, 4))
        tasks.append((centres[y] + generator.normal(size=(n, 4)), y))
    return from_arrays(tasks, labels="own", test=0.5)


def test_scores_are_the_same_however_tasks_are_batched() -> None:
    tasks, learner = source().test, PrototypicalNetwork(MLP(4))
    whole, small = (qs.evaluate(learner, tasks, batch_size=size, device="cpu") for size in (100, 3))
    for name in whole.values:
        assert np.allclose(whole.values[name], small.values[name], atol=1e-6)
    assert torch.allclose(whole.bins, small.bins)


def test_a_finite_split_is_gone_through_once() -> None:
    scores = qs.evaluate(NearestNeighbour(), source().test, tasks=600, device="cpu")
    assert scores.tasks == 20
    assert "20 test tasks" in str(scores)


def test_summary_has_every_metric_with_its_interval() -> None:
    scores = qs.evaluate(NearestNeighbour(), source().test, device="cpu")
    summary = scores.summary()
    assert list(summary) == ["accuracy", "brier", "nll", "ece"]
    assert summary["accuracy"] == interval(scores.values["accuracy"])
    assert summary["accuracy"].low > 0.8
    assert 0 < summary["ece"].ci95 < 0.2
    regression = qs.evaluate(NearestNeighbour(likelihood=Gaussian()), sinusoids(5).test, tasks=10, device="cpu")
    assert list(regression.summary()) == ["mse", "nll"]


def test_bootstrap_of_the_calibration_error_is_about_right() -> None:
    """Against the spread of the error over independent sets of tasks."""
    learner = CompletePooling(MLP(1, (4,)), Categorical(2))
    errors, half = [], 0.0
    generator = np.random.default_rng(0)
    for seed in range(40):
        x = [generator.normal(size=(20, 1)) for _ in range(120)]
        tasks = from_arrays([(v, (v[:, 0] > 0).astype(int)) for v in x], seed=seed, test=0.5)
        value = qs.evaluate(learner, tasks.test, device="cpu").summary()["ece"]
        errors.append(value.mean)
        half += value.ci95 / 40
    assert 0.5 < half / (1.96 * np.std(errors)) < 2


def test_the_learner_is_left_as_it_was() -> None:
    learner = PrototypicalNetwork(MLP(4)).train()
    qs.evaluate(learner, source().test, device="cpu")
    assert learner.training
    assert all(p.grad is None for p in learner.parameters())


def test_paired_differences() -> None:
    tasks = source().test
    near = qs.evaluate(NearestNeighbour(), tasks, device="cpu")
    same = compare(near, near, "accuracy")
    assert same.better is None
    assert str(same) == "no difference shown (accuracy +0.00 ± 0.00)"
    guess = qs.evaluate(CompletePooling(MLP(4), Categorical(2)), tasks, device="cpu")
    for metric in ("accuracy", "nll"):
        assert compare(near, guess, metric).better is True
        assert compare(guess, near, metric).better is False
    assert str(compare(near, guess, "accuracy")).startswith("better (accuracy +")


def test_pairing_is_narrower_than_not_pairing() -> None:
    tasks = source().test
    a, b = (qs.evaluate(NearestNeighbour(neighbours=k), tasks, device="cpu") for k in (1, 3))
    paired = compare(a, b, "nll").value.ci95
    unpaired = np.hypot(a.summary()["nll"].ci95, b.summary()["nll"].ci95)
    assert paired < unpaired


def test_several_seeds_are_paired_in_order_and_with_one_that_learns_nothing() -> None:
    tasks = source().test
    runs = []
    for seed in range(3):
        torch.manual_seed(seed)
        runs.append(qs.evaluate(PrototypicalNetwork(MLP(4)), tasks, device="cpu"))
    near = qs.evaluate(NearestNeighbour(), tasks, device="cpu")
    difference = compare(runs, near, "accuracy")
    assert difference.value.seeds == 3
    assert difference.value.mean == pytest.approx(
        np.mean([r.values["accuracy"] - near.values["accuracy"] for r in runs])
    )
    assert summarize(runs)["accuracy"].seeds == 3
    with pytest.raises(ValueError, match="3 runs cannot be paired with 2"):
        compare(runs, runs[:2], "accuracy")


def test_other_tasks_are_not_compared() -> None:
    learner, tasks = NearestNeighbour(), source().test
    a, b = (qs.evaluate(learner, tasks, seed=seed, device="cpu") for seed in (0, 1))
    with pytest.raises(ValueError, match="scored on different tasks"):
        compare(a, b, "accuracy")
    with pytest.raises(ValueError, match="scored on different tasks"):
        summarize([a, b])
    with pytest.raises(ValueError, match="metric must be one of .*accuracy.* got 'auroc'"):
        compare(a, a, "auroc")
    with pytest.raises(ValueError, match="tasks and batch_size must be at least 1"):
        qs.evaluate(learner, tasks, tasks=0)


def test_scores_survive_the_disk(tmp_path: Path) -> None:
    scores = {
        "own": qs.evaluate(NearestNeighbour(), source().test, device="cpu"),
        "10shot": qs.evaluate(NearestNeighbour(likelihood=Gaussian()), sinusoids(10).test, tasks=5, device="cpu"),
    }
    save_scores(scores, tmp_path / "scores")
    back = load_scores(tmp_path / "scores")
    assert list(back) == list(scores)
    for name, score in scores.items():
        assert back[name].summary() == score.summary()
    with pytest.raises(FileNotFoundError, match="no scores at"):
        load_scores(tmp_path / "none")


def test_a_prediction_that_is_not_finite_is_named_and_the_learner_left_as_it_was() -> None:
    learner = qs.learners.InContextTransformer(MLP(1, (8,)), Gaussian(), width=8, heads=2, layers=1).train()
    with torch.no_grad():
        learner.output.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="the nll of task 0, seed 3, is not finite"):
        qs.evaluate(learner, sinusoids(5).test, tasks=4, seed=3, device="cpu")
    assert learner.training


def test_tasks_are_known_by_what_they_ask() -> None:
    learner = NearestNeighbour(likelihood=Gaussian())
    five, again, noisy = (
        qs.evaluate(learner, split, tasks=10, batch_size=size, device="cpu")
        for split, size in (
            (sinusoids(5, queries=3).test, 10),
            (sinusoids(5, queries=3).test, 3),
            (sinusoids(5, queries=3, noise=0.5).test, 10),
        )
    )
    compare(five, again, "mse")
    with pytest.raises(ValueError, match="scored on different tasks"):
        compare(five, noisy, "mse")


def test_tasks_of_other_data_are_other_tasks_though_their_labels_are_the_same() -> None:
    def scores(scale: float) -> qs.evaluation.Scores:
        x = scale * torch.arange(120.0)[:, None].expand(-1, 4)
        names = [f"c{number}" for number in range(12)]
        parts = {"train": names[:4], "validation": names[4:8], "test": names[8:]}
        pool = qs.tasks.ClassPool.from_labels(x, np.arange(120) % 12, names, parts)
        return qs.evaluate(NearestNeighbour(), pool.episodes(3, 1, 2).test, tasks=5, device="cpu")

    assert scores(1.0).asked == scores(1.0).asked
    with pytest.raises(ValueError, match="scored on different tasks"):
        compare(scores(1.0), scores(2.0), "accuracy")
