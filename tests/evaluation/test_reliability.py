import pytest
import torch

from quickstudy.evaluation import Scores, calibration_error, evaluate, reliability
from quickstudy.learners import NearestNeighbour
from quickstudy.tasks import Gaussian, glyphs, sinusoids


def test_points_are_those_of_the_queries_themselves() -> None:
    split = glyphs().episodes(3, 1, 4).test
    learner = NearestNeighbour()
    scores = evaluate(learner, split, tasks=30, device="cpu")
    points = reliability([scores])
    assert points is not None
    batch = split.draw(0, 30, 0)
    probs = learner.predict(learner.adapt(batch.support, batch.classes), batch.query.x).probs
    confidence, choice = probs.max(-1)
    # Votes of one neighbour among three are all equally sure, so there is one point.
    assert len(points) == 1
    assert points[0]["count"] == confidence.numel()
    assert points[0]["confidence"] == pytest.approx(float(confidence.double().mean()), abs=1e-6)
    assert points[0]["right"] == pytest.approx(float((choice == batch.query.y).double().mean()), abs=1e-6)


def test_the_mean_distance_from_the_line_is_the_calibration_error() -> None:
    bins = torch.rand(7, 15, 3, dtype=torch.float64)
    bins[..., 0] = (10 * bins[..., 0]).round()
    bins[:, 3] = 0
    bins[..., 1:] *= bins[..., :1]
    scores = Scores({"accuracy": bins[:, 0, 0].numpy()}, bins)
    points = reliability([scores, scores])
    assert points is not None
    assert len(points) == 14
    total = sum(point["count"] for point in points)
    assert total == 2 * int(bins[..., 0].sum())
    error = sum(point["count"] * abs(point["confidence"] - point["right"]) for point in points) / total
    assert error == pytest.approx(float(calibration_error(bins.sum(0))), abs=1e-6)


def test_real_targets_have_none() -> None:
    learner = NearestNeighbour(likelihood=Gaussian())
    assert reliability([evaluate(learner, sinusoids(3).test, tasks=4, device="cpu")]) is None
