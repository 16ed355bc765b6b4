from inspect import isabstract

import numpy as np
import pandas as pd
import pytest
import torch
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.learners import (
    MAML,
    CompletePooling,
    FromScratch,
    InContextTransformer,
    Learner,
    NearestNeighbour,
    PrototypicalNetwork,
)
from quickstudy.networks import MLP, Conv4
from quickstudy.tasks import Categorical, Examples, Gaussian, TaskBatch, glyphs


def test_adapted_is_the_batch_of_one_task() -> None:
    learner = PrototypicalNetwork(MLP(4))
    x, y, new = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]), torch.randn(5, 4)
    prediction = learner.adapted(x, y)(new)
    assert prediction.probs.shape == (5, 3)
    phi = learner.adapt(Examples.of(x[None], y[None]))
    assert_close(prediction.probs, learner.predict(phi, new[None]).probs[0])


def test_adapted_takes_arrays_and_lists() -> None:
    learner = NearestNeighbour(likelihood=Gaussian())
    mean = learner.adapted(np.array([[0.0], [1.0]]), [3.0, 5.0])([[0.1], [0.8]]).mean
    assert mean.tolist() == [3.0, 5.0]


def test_adapted_learns_in_evaluation_mode_and_leaves_the_mode() -> None:
    learner = qs.learners.InContextTransformer(MLP(4), Categorical(3), width=8, heads=2, layers=1, dropout=0.5).train()
    x, y = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    adapted = learner.adapted(x, y)
    assert learner.training
    assert_close(adapted(x).probs, adapted(x).probs)
    assert not any(p.requires_grad for p in adapted.phi.values() if isinstance(p, torch.Tensor))


def test_adapted_without_support_needs_the_classes() -> None:
    learner = PrototypicalNetwork(MLP(4))
    empty = torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    with pytest.raises(ValueError, match="classes must be given"):
        learner.adapted(*empty)
    assert_close(learner.adapted(*empty, classes=[0, 2])(torch.randn(1, 4)).probs, torch.tensor([[0.5, 0.0, 0.5]]))


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (torch.randn(3, 4), torch.tensor([0, 1]), ValueError, r"got x \(3, 4\) for 2 targets"),
        (torch.randn(2, 4), torch.tensor([0.0, 1.0]), TypeError, "classification needs int64 class numbers"),
        (torch.full((2, 4), torch.nan), torch.tensor([0, 1]), ValueError, "support.x has a value that is not finite"),
        (torch.randn(2, 4), torch.tensor([-1, 1]), ValueError, "support.y is -1 for example 0"),
    ],
)
def test_adapted_names_bad_input(x: torch.Tensor, y: torch.Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        PrototypicalNetwork(MLP(4)).adapted(x, y)


def test_update_says_what_to_do_where_it_cannot() -> None:
    learner = PrototypicalNetwork(MLP(4))
    support = Examples.of(torch.randn(1, 2, 4), torch.tensor([[0, 1]]))
    with pytest.raises(NotImplementedError, match="PrototypicalNetwork cannot add examples to φ; adapt to the old and"):
        learner.update(learner.adapt(support), support)


def test_a_likelihood_of_another_kind_is_refused() -> None:
    with pytest.raises(
        ValueError, match="NearestNeighbour learns classification and regression, .* Bernoulli is for binary"
    ):
        NearestNeighbour(likelihood=qs.tasks.Bernoulli())


def test_reduction_scales_the_loss() -> None:
    network, batch = (
        MLP(4),
        qs.TaskBatch(
            Examples.of(torch.randn(2, 4, 4), torch.tensor([[0, 1, 0, 1]] * 2)),
            Examples.of(torch.randn(2, 6, 4), torch.tensor([[0, 1, 0, 1, 0, 1]] * 2)),
            torch.ones(2, 2, dtype=torch.bool),
        ),
    )
    mean, total = PrototypicalNetwork(network)(batch), PrototypicalNetwork(network, reduction="sum")(batch)
    assert_close(total, 6 * mean)


def test_normalization_is_reported() -> None:
    assert PrototypicalNetwork(qs.networks.Conv4(normalization="task")).normalization == "task"
    assert NearestNeighbour().normalization == "none"


def test_every_learner_is_registered() -> None:
    public = {getattr(qs.learners, name) for name in qs.learners.__all__}
    learners = {cls for cls in public if isinstance(cls, type) and issubclass(cls, Learner) and not isabstract(cls)}
    assert learners <= set(qs.registered(Learner).values())


@pytest.mark.parametrize("cls", [NearestNeighbour, MAML, FromScratch, InContextTransformer, CompletePooling])
def test_targets_that_would_be_broadcast_are_refused(cls: type[Learner]) -> None:
    """y `[n, 1]`, as scikit-learn users have it, against means `[n]` would make a loss of n × n numbers."""
    learner = cls.example("regression", "none")
    x, y = torch.randn(5, 6), torch.randn(5)
    for call in (learner.adapted, lambda x, y: learner(TaskBatch(*[Examples.of(x[None], y[None])] * 2))):
        call(x, y)
        with pytest.raises(ValueError, match="drop the last axes, or build it with"):
            call(x, y[:, None])


def test_adapted_takes_the_precision_of_the_learner() -> None:
    x, y = np.random.default_rng(0).normal(size=(6, 4)), np.arange(6, dtype=np.int8) % 3
    for dtype in (torch.float32, torch.float64):
        learner = PrototypicalNetwork(MLP(4)).to(dtype)
        assert learner.adapted(x, y)(x).probs.dtype == dtype
        assert learner.adapted(pd.DataFrame(x), pd.Series(y))(pd.DataFrame(x)).probs.dtype == dtype
    whole = MAML(MLP(4), Gaussian()).adapted(x, y)  # whole numbers may be quantities
    assert whole(x).mean.shape == (6,)


@pytest.mark.parametrize("cls", [NearestNeighbour, InContextTransformer])
def test_update_with_a_class_that_is_new(cls: type[Learner]) -> None:
    learner = cls.example("classification", "none").eval()
    x = torch.randn(1, 6, 6)
    phi = learner.adapt(Examples.of(x[:, :4], torch.tensor([[0, 1, 0, 3]])))
    phi = learner.update(phi, Examples.of(x[:, 4:], torch.tensor([[2, 2]])))
    assert phi["classes"].all()
    assert (learner.predict(phi, x).probs > 0).all()
    with pytest.raises(ValueError, match="examples have the class 9, but φ has room for 4"):
        learner.update(phi, Examples.of(x[:, :1], torch.tensor([[9]])))


def test_a_network_that_is_borrowed_stays_trainable() -> None:
    embedding = PrototypicalNetwork(MLP(4))
    NearestNeighbour(embedding.network).adapted(torch.randn(2, 4), [0, 1])
    FromScratch(embedding.network, Categorical(2), steps=1).adapted(torch.randn(2, 4), [0, 1])
    assert all(parameter.requires_grad for parameter in embedding.parameters())


def test_looped_and_vectorised_agree_under_autocast() -> None:
    batch = glyphs().episodes(3, 1, 2).train.draw(0, 4, 0)
    learner = MAML(Conv4(filters=4), Categorical(3), inner_steps=1, inner_rate=0.1)
    losses = []
    for learner.tasks_at_once in (None, 1):
        with torch.autocast("cpu", torch.bfloat16):
            losses.append(learner(batch))
    assert_close(losses[0], losses[1])
