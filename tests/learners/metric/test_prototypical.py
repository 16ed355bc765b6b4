from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.learners import PrototypicalNetwork
from quickstudy.learners.metric.similarity import nearness
from quickstudy.networks import MLP
from quickstudy.tasks import Examples


def test_is_softmax_of_negative_squared_distances_to_class_means() -> None:
    learner = PrototypicalNetwork(MLP(3, (5,))).double()
    x, y = torch.randn(1, 7, 3).double(), torch.tensor([[0, 1, 1, 2, 2, 2, 0]])
    queries = torch.randn(1, 4, 3).double()
    probs = learner.predict(learner.adapt(Examples.of(x, y)), queries).probs
    embed = lambda v: learner.network(v, torch.ones(v.shape[:2], dtype=torch.bool))[0][0]
    prototypes = torch.stack([embed(x)[y[0] == k].mean(0) for k in range(3)])
    distances = torch.cdist(embed(queries), prototypes) ** 2
    assert_close(probs[0], (-distances).softmax(-1))


def test_a_class_without_shots_is_the_mean_of_the_others() -> None:
    learner = PrototypicalNetwork(MLP(3, (5,)))
    phi = learner.adapt(
        Examples.of(torch.randn(1, 2, 3), torch.tensor([[0, 2]])), torch.tensor([[True, True, True, False]])
    )
    prototypes = phi["prototypes"][0]
    assert_close(prototypes[1], (prototypes[0] + prototypes[2]) / 2)
    probs = learner.predict(phi, torch.randn(1, 3, 3)).probs
    assert (probs[..., 3] == 0).all()
    assert (probs[..., 1] > 0).all()


def test_nearness_stays_precise_under_autocast() -> None:
    x = 100 + torch.rand(1, 20, 8)
    points = x[:, :5] + 0.1
    exact = -(torch.cdist(x.double(), points.double()) ** 2) + x.double().square().sum(-1, keepdim=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(nearness(x, points).double(), exact, rtol=1e-5, atol=0.05)


@pytest.mark.parametrize("learn_scale", [False, True])
def test_cosine_with_a_scale(learn_scale: bool, tmp_path: Path) -> None:
    learner = PrototypicalNetwork(MLP(3, (5,)), "cosine", scale=10.0, learn_scale=learn_scale)
    x, y, queries = torch.randn(1, 4, 3), torch.tensor([[0, 1, 1, 0]]), torch.randn(1, 6, 3)
    phi = learner.adapt(Examples.of(x, y))
    embedded = learner.network(queries, torch.ones(1, 6, dtype=torch.bool))[0][0]
    cosines = torch.cosine_similarity(embedded[:, None], phi["prototypes"][0][None], dim=-1)
    assert_close(learner.predict(phi, queries).probs[0], (10 * cosines).softmax(-1))
    batch = qs.TaskBatch(Examples.of(x, y), Examples.of(x, y), torch.ones(1, 2, dtype=torch.bool))
    learner(batch).sum().backward()
    assert hasattr(learner, "log_scale") is learn_scale
    if learn_scale:
        assert learner.log_scale.grad != 0
        with torch.no_grad():
            learner.log_scale += 1
    qs.save(learner, tmp_path / "l")
    assert_close(qs.load(tmp_path / "l").predict(phi, queries).probs, learner.predict(phi, queries).probs)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"scale must be positive and finite, got -1\.0"):
        PrototypicalNetwork(MLP(3), scale=-1.0)


@pytest.mark.unchecked
def test_unknown_distance() -> None:
    with pytest.raises(ValueError, match="distance must be 'euclidean' or 'cosine', got 'manhattan'"):
        PrototypicalNetwork(MLP(3), "manhattan")
