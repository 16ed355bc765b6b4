import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from quickstudy.learners import RelationNetwork
from quickstudy.networks import MLP, Conv4
from quickstudy.tasks import Examples, TaskBatch


def batch(*shape: int) -> TaskBatch:
    support = Examples.of(torch.rand(1, 5, *shape).double(), torch.tensor([[0, 1, 1, 2, 0]]))
    query = Examples.of(torch.rand(1, 3, *shape).double(), torch.tensor([[1, 2, 0]]))
    return TaskBatch(support, query, torch.ones(1, 3, dtype=torch.bool))


def test_scores_are_those_of_one_convolution_over_both_maps_side_by_side() -> None:
    """The paper's relation module, pair by pair, without normalization."""
    learner = RelationNetwork(Conv4(filters=6, size=16, normalization="none", pools=2), filters=5).double().eval()
    task, relation = batch(1, 16, 16), learner.relation
    support, query = (learner.network(part.x, part.mask)[0][0] for part in (task.support, task.query))
    both = nn.Conv2d(12, 5, 3, padding=1).double()
    both.weight.data = torch.cat([relation.of_class.weight, relation.of_example.weight], 1).detach()
    both.bias.data = relation.of_class.bias.detach()
    scores = torch.empty(3, 3).double()
    for q in range(3):
        for k in range(3):
            mean = support[task.support.y[0] == k].mean(0)
            pair = torch.cat([mean.view(6, 4, 4), query[q].view(6, 4, 4)])[None]
            hidden = F.max_pool2d(F.relu(both(pair)), 2)
            hidden = F.max_pool2d(F.relu(relation.second(hidden)), 2)
            scores[q, k] = torch.sigmoid(relation.score(hidden.flatten(1)))[0, 0]
    probs = learner.predict(learner.adapt(task.support, task.classes), task.query.x).probs[0]
    assert_close(probs, scores / scores.sum(1, keepdim=True))
    assert_close(learner(task)[0], (scores - F.one_hot(task.query.y[0], 3)).square().mean())


def test_statistics_are_of_the_pairs_of_the_support() -> None:
    learner = RelationNetwork(MLP(4, (6,), "support")).double()
    task = batch(4)
    phi = learner.adapt(task.support, task.classes)
    assert phi["relation"]["first"]["count"].tolist() == [15]
    assert phi["relation"]["first"]["mean"].shape == (1, 64)


def test_maps_that_are_too_small_are_refused() -> None:
    with pytest.raises(ValueError, match=r"maps of 3×3.*pools=2"):
        RelationNetwork(Conv4(pools=3))
    with pytest.raises(ValueError, match="filters and hidden must be at least 1"):
        RelationNetwork(MLP(4), hidden=0)
    assert RelationNetwork(Conv4(pools=4)).relation.maps is None  # one pixel is a vector
