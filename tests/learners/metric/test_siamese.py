import pytest
import torch
from torch.testing import assert_close

from quickstudy.learners import SiameseNetwork
from quickstudy.networks import MLP
from quickstudy.tasks import Examples, TaskBatch


def batch() -> TaskBatch:
    support = Examples.of(torch.randn(1, 5, 4).double(), torch.tensor([[0, 1, 1, 2, 0]]))
    query = Examples.of(torch.randn(1, 3, 4).double(), torch.tensor([[1, 2, 0]]))
    return TaskBatch(support, query, torch.tensor([[True, True, True, True]]))


def features(learner: SiameseNetwork, examples: Examples) -> torch.Tensor:
    return learner.network(examples.x, examples.mask)[0][0]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_is_the_contrastive_one_pair_by_pair(reduction: str) -> None:
    learner, task = SiameseNetwork(MLP(4, (6,)), margin=1.5, reduction=reduction).double(), batch()
    terms = []
    for a, label in zip(features(learner, task.query), task.query.y[0], strict=True):
        for b, other in zip(features(learner, task.support), task.support.y[0], strict=True):
            distance = (a - b).norm()
            terms.append(distance**2 if label == other else (1.5 - distance).clamp(min=0) ** 2)
    expected = torch.stack(terms).sum() / (15 if reduction == "mean" else 1)
    assert_close(learner(task)[0], expected, rtol=1e-5, atol=1e-8)


def test_predicts_the_class_of_the_nearest() -> None:
    learner, task = SiameseNetwork(MLP(4, (6,)), margin=1.5).double(), batch()
    logits = learner.predict(learner.adapt(task.support, task.classes), task.query.x).logits[0]
    distances = torch.cdist(features(learner, task.query), features(learner, task.support)) ** 2
    expected = torch.stack([distances[:, task.support.y[0] == k].amin(1) for k in range(3)], 1)
    expected = torch.cat([expected, torch.full((3, 1), 1.5**2)], 1)  # a class without examples: as far as the margin
    assert_close(logits, (-expected).log_softmax(-1))


def test_twins_that_coincide_have_a_gradient() -> None:
    """Two examples of different classes at one point: the root's slope is infinite there."""
    learner, task = SiameseNetwork(MLP(4, (6,))), batch().map(lambda leaf: leaf)
    task.support.x, task.query.x = torch.ones(1, 5, 4), torch.ones(1, 3, 4)
    learner(task).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in learner.parameters())


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"margin must be positive, got 0\.0"):
        SiameseNetwork(MLP(4), margin=0.0)
