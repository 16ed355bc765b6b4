"""Ranking metrics against scikit-learn's, and against counting."""

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score
from torch.testing import assert_close

from quickstudy.evaluation import ndcg, reciprocal_rank

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("k", [None, 1, 3, 7, 20])
@pytest.mark.parametrize("ties", [False, True])
def test_ndcg_is_that_of_scikit_learn(k: int | None, ties: bool) -> None:
    scores, gains = RNG.normal(size=(30, 9)), RNG.integers(0, 4, (30, 9)).astype(float)
    gains[:, 0] += 1  # there is something to gain
    scores = scores.round() if ties else scores
    ours = ndcg(torch.from_numpy(scores), torch.from_numpy(gains), k)
    assert float(ours.mean()) == pytest.approx(ndcg_score(gains, scores, k=k))
    each = [ndcg_score(gains[[row]], scores[[row]], k=k) for row in range(30)]
    assert_close(ours.numpy(), np.array(each))


def test_reciprocal_rank_is_that_of_the_sorted_list() -> None:
    scores, relevant = RNG.permuted(np.tile(np.arange(8.0), (40, 1)), axis=1), RNG.random((40, 8)) < 0.3
    expected = []
    for row, those in zip(scores, relevant, strict=True):
        places = [rank for rank, item in enumerate(np.argsort(-row), 1) if those[item]]
        expected.append(1 / places[0] if places else np.nan)
    ours = reciprocal_rank(torch.from_numpy(scores), torch.from_numpy(relevant))
    assert_close(ours.numpy(), np.array(expected), equal_nan=True)


def test_the_rank_among_equal_scores_is_the_mean_over_their_orders() -> None:
    scores, relevant = torch.tensor([[1.0, 1.0, 1.0, 2.0, 0.0]]), torch.tensor([[True, False, False, False, False]])
    ranks = [1 + 1 + order.index(0) for order in permutations(range(3))]
    assert float(1 / reciprocal_rank(scores, relevant)) == pytest.approx(np.mean(ranks))


def test_what_is_masked_is_not_there() -> None:
    scores, gains = torch.randn(6, 5, dtype=torch.float64), torch.rand(6, 5, dtype=torch.float64)
    mask = torch.tensor([True, True, True, False, False]).expand(6, 5)
    poisoned = scores.masked_fill(~mask, torch.nan), gains.masked_fill(~mask, torch.nan)
    for k in (None, 2):
        assert_close(ndcg(*poisoned, k, mask), ndcg(scores[:, :3], gains[:, :3], k))
    relevant = gains > 0.5
    assert_close(
        reciprocal_rank(poisoned[0], relevant, mask), reciprocal_rank(scores[:, :3], relevant[:, :3]), equal_nan=True
    )


def test_nothing_to_gain_is_no_number() -> None:
    scores = torch.randn(2, 3)
    assert ndcg(scores, torch.zeros(2, 3)).isnan().all()
    assert reciprocal_rank(scores, torch.zeros(2, 3, dtype=torch.bool)).isnan().all()


@pytest.mark.unchecked
def test_bad_input_is_named() -> None:
    scores, gains = torch.randn(2, 3), torch.ones(2, 3)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        ndcg(scores, gains, 0)
    with pytest.raises(ValueError, match="gains must be finite and not negative, got -1"):
        ndcg(scores, -gains)
    with pytest.raises(ValueError, match=r"gains must have the shape of scores, \[2, 3\], got \[2, 2\]"):
        ndcg(scores, gains[:, :2])
    with pytest.raises(ValueError, match="scores must be finite"):
        reciprocal_rank(scores * torch.nan, gains.bool())
