import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from torch import nn
from torch.testing import assert_close

from quickstudy.learners import CompletePooling, FromScratch, NearestNeighbour
from quickstudy.networks import MLP, PerExample
from quickstudy.tasks import Categorical, Examples, Gaussian, TaskBatch


@pytest.mark.parametrize("k", [1, 3, 5])
def test_nearest_neighbour_agrees_with_scikit_learn(k: int) -> None:
    x, y, new = torch.randn(2, 20, 4), torch.randint(0, 3, (2, 20)), torch.randn(2, 30, 4)
    learner = NearestNeighbour(neighbours=k, smoothing=1e-9)
    probs = learner.predict(learner.adapt(Examples.of(x, y)), new).probs
    values = torch.randn(2, 20)
    regressor = NearestNeighbour(likelihood=Gaussian(), neighbours=k)
    mean = regressor.predict(regressor.adapt(Examples.of(x, values)), new).mean
    for task in range(2):
        theirs = KNeighborsClassifier(k).fit(x[task], y[task]).predict_proba(new[task])
        assert_close(probs[task].double(), torch.from_numpy(theirs), rtol=1e-5, atol=1e-5)
        theirs = KNeighborsRegressor(k).fit(x[task], values[task]).predict(new[task])
        assert_close(mean[task].double(), torch.from_numpy(theirs).double(), rtol=1e-5, atol=1e-5)


def test_nearest_neighbour_takes_what_a_small_task_has() -> None:
    x, y = torch.randn(1, 4, 2), torch.tensor([[0, 1, 0, 0]])
    few = Examples(x, y, torch.tensor([[True, True, False, False]]))
    learner = NearestNeighbour(neighbours=3, smoothing=1.0)
    probs = learner.predict(learner.adapt(few, torch.ones(1, 2, dtype=torch.bool)), torch.randn(1, 5, 2)).probs
    assert_close(probs, torch.full((1, 5, 2), 0.5))


def test_nearest_neighbour_update_is_adapting_to_all() -> None:
    x, y = torch.randn(2, 6, 3), torch.randint(0, 3, (2, 6))
    learner, classes, new = NearestNeighbour(), torch.ones(2, 3, dtype=torch.bool), torch.randn(2, 4, 3)
    part = learner.adapt(Examples.of(x[:, :4], y[:, :4]), classes)
    updated = learner.update(part, Examples.of(x[:, 4:], y[:, 4:]))
    whole = learner.adapt(Examples.of(x, y), classes)
    assert_close(learner.predict(updated, new).probs, learner.predict(whole, new).probs)


def test_nearest_neighbour_in_features() -> None:
    network = MLP(3, (5,))
    x, y, new = torch.randn(1, 10, 3), torch.randint(0, 2, (1, 10)), torch.randn(1, 6, 3)
    ones = lambda v: torch.ones(v.shape[:2], dtype=torch.bool)
    learner = NearestNeighbour(network)
    features = NearestNeighbour()
    ours = learner.predict(learner.adapt(Examples.of(x, y)), new).probs
    plain = features.adapt(Examples.of(network(x, ones(x))[0], y))
    assert_close(ours, features.predict(plain, network(new, ones(new))[0]).probs)
    assert not ours.requires_grad  # the features are given, not learned


def test_from_scratch_is_adam_on_each_task_alone() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        learner = FromScratch(PerExample(nn.Linear(3, 4), 4), Gaussian(), steps=15, rate=0.05, weight_decay=0.1)
        x, y, new = torch.randn(3, 6, 3), torch.randn(3, 6), torch.randn(3, 4, 3)
        mean = learner.predict(learner.adapt(Examples.of(x, y)), new).mean
        for task in range(3):
            module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
            with torch.no_grad():
                for mine, given in zip(module.parameters(), learner.predictor.parameters(), strict=True):
                    mine.copy_(given)
            optimizer = torch.optim.AdamW(module.parameters(), lr=0.05, weight_decay=0.1)
            for _ in range(15):
                optimizer.zero_grad()
                F.mse_loss(module(x[task])[:, 0], y[task]).backward()
                optimizer.step()
            assert_close(mean[task], module(new[task])[:, 0].detach())
    finally:
        torch.set_default_dtype(torch.float32)


def test_from_scratch_leaves_its_network_alone() -> None:
    learner = FromScratch(MLP(3), Categorical(2), steps=5)
    before = [p.clone() for p in learner.parameters()]
    learner.adapt(Examples.of(torch.randn(1, 4, 3), torch.tensor([[0, 1, 0, 1]])))
    assert all(torch.equal(a, b) for a, b in zip(before, learner.parameters(), strict=True))
    assert all(p.grad is None for p in learner.parameters())


def test_complete_pooling_is_supervised_learning_on_everything() -> None:
    learner = CompletePooling(MLP(3), Categorical(2))
    y = torch.tensor([[0, 1, 1, 0]])
    mask = torch.tensor([[True, True, True, False]])
    batch = TaskBatch(
        Examples(torch.randn(1, 4, 3), y, mask),
        Examples.of(torch.randn(1, 4, 3), y),
        torch.ones(1, 2, dtype=torch.bool),
    )
    x = torch.cat([batch.support.x[:, :3], batch.query.x], 1)
    raw, _ = learner.predictor(x, torch.ones(1, 7, dtype=torch.bool))
    assert_close(learner(batch), F.cross_entropy(raw[0], torch.cat([y[:, :3], y], 1)[0])[None])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NearestNeighbour(neighbours=0), "neighbours must be at least 1 and smoothing positive"),
        (lambda: NearestNeighbour(likelihood=Gaussian(variance=None)), "neighbours give a mean, not a variance"),
        (lambda: FromScratch(MLP(3), Categorical(2), rate=-1.0), "rate must be positive"),
    ],
)
def test_bad_arguments(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]
