"""The contract: what every registered learner promises, for every kind of task, and under every normalization policy.

A new learner is covered by registering it.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch.utils._pytree import tree_leaves

import quickstudy as qs
from quickstudy.evaluation import interval
from quickstudy.learners import (
    AttentiveNeuralProcess,
    ConditionalNeuralProcess,
    ConvolutionalNeuralProcess,
    ConvolutionalReader,
    DecoderTransformer,
    LatentNeuralProcess,
    Learner,
    concatenate,
    load_phi,
    save_phi,
    take,
)
from quickstudy.tasks import Examples, TaskBatch

from .problems import Problems, kinds_to_train, poisoned

POLICIES = ("none", "support", "transductive", "running", "task", "layer")


def cases(cls: type[Learner]) -> list[tuple[str, str]]:
    """Every kind of task under one policy, and one kind under all: normalization is of the network, which does not know
    what the targets are."""
    kinds = sorted(cls.kinds)
    kind = "classification" if "classification" in kinds else kinds[0]
    normalizes = any(isinstance(part, qs.networks.Normalization) for part in cls.example(kind, "support").modules())
    others = [policy for policy in POLICIES if policy != "support"] if normalizes else []
    return [*((kind, "support") for kind in kinds), *((kind, policy) for policy in others)]


CASES = [
    # One policy is enough to check the shapes with, which takes twice as long.
    pytest.param(cls, kind, policy, id=f"{name}-{kind}-{policy}", marks=[pytest.mark.unchecked] * (policy != "support"))
    for name, cls in qs.registered(Learner).items()
    for kind, policy in cases(cls)
    if cls.__module__.startswith("quickstudy.")
]


@pytest.fixture(autouse=True)
def precise() -> Iterator[None]:
    """In float64, so that what should be equal is equal to twelve digits."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def make(cls: type[Learner], kind: str, policy: str) -> Learner:
    try:
        learner = cls.example(kind, policy)
    except ValueError as error:
        if policy == "running" and "running averages cannot follow" in str(error):
            pytest.skip("refuses running averages, and says why")
        raise
    return learner.eval()


def outputs(learner: Learner, batch: TaskBatch) -> Tensor:
    """What the predictive distributions of all queries are made of, zeros where there is none."""
    with torch.no_grad():
        phi = learner.adapt(batch.support, batch.classes)
        raw = learner.outputs(phi, batch.query.x, batch.query.mask)
    return torch.where(batch.query.mask[..., None], raw, 0.0)


@pytest.mark.parametrize(("cls", "kind", "policy"), CASES)
class TestContract:
    def test_prediction_has_the_batch_shape(self, cls: type[Learner], kind: str, policy: str) -> None:
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 3, 0)
        prediction = learner.predict(learner.adapt(batch.support, batch.classes), batch.query.x, batch.query.mask)
        assert prediction.batch_shape == batch.query.mask.shape
        losses = learner(batch)
        assert losses.shape == (3,)
        assert torch.isfinite(losses).all()

    def test_padding_changes_nothing(self, cls: type[Learner], kind: str, policy: str) -> None:
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 4, 0)
        dirty = TaskBatch(poisoned(batch.support), poisoned(batch.query), batch.classes)
        assert_close(outputs(learner, dirty), outputs(learner, batch))
        longer = batch.map(lambda leaf: leaf)
        more = batch.support.map(lambda leaf: torch.cat([leaf, torch.zeros_like(leaf[:, :3])], 1))
        longer.support = poisoned(more)
        assert_close(outputs(learner, longer), outputs(learner, batch))
        if learner.trainable:
            learner.train()(dirty).sum().backward()
            assert all(torch.isfinite(p.grad).all() for p in learner.parameters() if p.grad is not None)

    def test_tasks_do_not_leak(self, cls: type[Learner], kind: str, policy: str) -> None:
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 4, 0)
        together = outputs(learner, batch)
        alone = torch.cat([outputs(learner, batch[task]) for task in range(4)])
        assert_close(alone, together)
        others = Problems(kind).draw(9, 4, 1)
        mixed = batch.map(lambda leaf: leaf)
        for part in ("support", "query"):
            mine, theirs = getattr(batch, part), getattr(others, part)
            setattr(
                mixed,
                part,
                Examples(*(torch.cat([getattr(mine, f)[:1], getattr(theirs, f)[1:]]) for f in ("x", "y", "mask"))),
            )
        if batch.classes is not None:
            mixed.classes = torch.cat([batch.classes[:1], others.classes[1:]])
        assert_close(outputs(learner, mixed)[0], together[0])

    def test_queries_do_not_see_one_another(self, cls: type[Learner], kind: str, policy: str) -> None:
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 3, 0)
        phi = learner.adapt(batch.support, batch.classes)
        with torch.no_grad():
            together = learner.outputs(phi, batch.query.x)
            single = torch.cat(
                [learner.outputs(phi, batch.query.x[:, [i]]) for i in range(batch.query.mask.shape[1])], 1
            )
        reads_queries = policy == "transductive" and any(
            isinstance(m, qs.networks.Normalization) for m in learner.modules()
        )
        if reads_queries:  # the policy says so; that it does is what its name promises
            assert not torch.allclose(single, together)
        else:
            assert_close(single, together)

    def test_absent_classes_get_no_probability(self, cls: type[Learner], kind: str, policy: str) -> None:
        if kind != "classification":
            pytest.skip("no classes")
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 6, 0)
        assert not batch.classes.all()
        probs = learner.predict(learner.adapt(batch.support, batch.classes), batch.query.x).probs
        assert (probs[~batch.classes[:, None].expand_as(probs)] == 0).all()
        assert_close(probs.sum(-1), torch.ones(probs.shape[:2]))

    def test_zero_shots_work(self, cls: type[Learner], kind: str, policy: str) -> None:
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 3, 0)
        some = batch.map(lambda leaf: leaf)
        some.support.mask = some.support.mask.clone()
        some.support.mask[1] = False
        result = outputs(learner, some)
        assert torch.isfinite(result).all()
        assert_close(result[[0, 2]], outputs(learner, batch)[[0, 2]])
        none = batch.map(lambda leaf: leaf)
        none.support = batch.support.map(lambda leaf: leaf[:, :0])
        assert_close(outputs(learner, none)[1], result[1])
        if learner.trainable:
            learner.train()(some).sum().backward()
            assert all(torch.isfinite(p.grad).all() for p in learner.parameters() if p.grad is not None)

    def test_order_of_the_support(self, cls: type[Learner], kind: str, policy: str) -> None:
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 3, 0)
        turned = batch.map(lambda leaf: leaf)
        order = torch.randperm(batch.support.mask.shape[1])
        turned.support = batch.support.map(lambda leaf: leaf[:, order])
        same = torch.allclose(outputs(learner, turned), outputs(learner, batch), rtol=1e-7, atol=1e-9)
        assert same or learner.order_matters

    def test_tasks_at_once_changes_nothing(self, cls: type[Learner], kind: str, policy: str) -> None:
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 3, 0)
        if not hasattr(learner, "tasks_at_once"):
            pytest.skip("is vectorised in one way only; task by task is tested above")
        vectorised, gradients = outputs(learner, batch), []
        for at_once in (None, 1, 2):
            learner.tasks_at_once = at_once
            assert_close(outputs(learner, batch), vectorised)
            if learner.trainable:
                learner.zero_grad()
                learner(batch).sum().backward()
                gradients.append([p.grad.clone() for p in learner.parameters() if p.grad is not None])
        for others in gradients[1:]:
            assert_close(others, gradients[0])

    def test_phi_survives_cutting_joining_saving(
        self, cls: type[Learner], kind: str, policy: str, tmp_path: Path
    ) -> None:
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 3, 0)
        expected = outputs(learner, batch)
        with torch.no_grad():
            phi = learner.adapt(batch.support, batch.classes)
        assert all(leaf.shape[0] == 3 for leaf in tree_leaves(phi))
        joined = concatenate([take(phi, [2]), take(phi, slice(0, 2))])
        save_phi(joined, tmp_path / "phi.safetensors")
        back = load_phi(tmp_path / "phi.safetensors")
        order = [2, 0, 1]
        with torch.no_grad():
            raw = learner.outputs(back, batch.query.x[order], batch.query.mask[order])
        mask = batch.query.mask[order][..., None]
        assert_close(torch.where(mask, raw, 0.0), expected[order])

    def test_training_on_does_not_change_phi(self, cls: type[Learner], kind: str, policy: str) -> None:
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 3, 0)
        if not learner.trainable:
            pytest.skip("is not trained")
        phi = learner.adapt(batch.support, batch.classes)
        before = [leaf.detach().clone() for leaf in tree_leaves(phi)]
        predicted = outputs_of(learner, phi, batch)
        optimizer = torch.optim.SGD(learner.parameters(), lr=0.5)
        learner.train()(batch).sum().backward()
        optimizer.step()
        learner.eval()
        for leaf, old in zip(tree_leaves(phi), before, strict=True):
            assert torch.equal(leaf, old)
        if learner.self_contained:
            assert_close(outputs_of(learner, phi, batch), predicted)

    def test_learner_survives_save_and_load(self, cls: type[Learner], kind: str, policy: str, tmp_path: Path) -> None:
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 3, 0)
        with torch.no_grad():
            for parameter in learner.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
        qs.save(learner, tmp_path / "learner")
        back = qs.load(tmp_path / "learner")
        assert type(back) is type(learner)
        assert_close(outputs(back, batch), outputs(learner, batch))

    def test_state_of_the_learner_is_left_alone(self, cls: type[Learner], kind: str, policy: str) -> None:
        learner, batch = make(cls, kind, policy), Problems(kind).draw(0, 3, 0)
        before = {name: value.clone() for name, value in learner.state_dict().items()}
        outputs(learner, batch)
        for name, value in learner.state_dict().items():
            assert torch.equal(value, before[name])


def outputs_of(learner: Learner, phi: dict, batch: TaskBatch) -> Tensor:
    with torch.no_grad():
        return learner.outputs(phi, batch.query.x, batch.query.mask)


@pytest.mark.unchecked  # hundreds of steps
@pytest.mark.parametrize(
    ("cls", "kind"),
    [
        pytest.param(cls, kind, id=f"{name}-{kind}")
        for name, cls in qs.registered(Learner).items()
        for kind in kinds_to_train(cls)
        if cls.__module__.startswith("quickstudy.")
    ],
)
def test_adaptation_helps(cls: type[Learner], kind: str) -> None:
    """On new tasks of the family, the task's own support is better than none and than another task's."""
    learner = cls.example(kind, "none")
    if learner.trainable:
        faster = partial(torch.optim.Adam, lr=4e-3)
        options = {"device": "cpu", "precision": "64-true", "optimizer": faster}
        # A network that must find out for itself how to divide by a direction, or which one, takes a while.
        slow = kind == "binary" and issubclass(cls, _SLOW)
        qs.fit(learner, Problems(kind, 24), steps=800 if slow else 120, batch_size=16, **options)
    batch = Problems(kind, 24, name="test").draw(0, 200, 0)
    nothing = batch.map(lambda leaf: leaf)
    nothing.support.mask = torch.zeros_like(batch.support.mask)
    foreign = batch.map(lambda leaf: leaf)
    foreign.support = Problems(kind, 24, name="other").draw(0, 200, 1).support
    if kind == "classification":  # another task's labels, as far as the task has such classes
        foreign.support.mask = foreign.support.mask & batch.classes.gather(1, foreign.support.y)
    own, *others = (surprise(learner.eval(), support, batch) for support in (batch, nothing, foreign))
    for other in others:
        gain = interval((other - own).numpy())
        assert (gain.low > 0) if learner.adapts else abs(gain.mean) < 1e-9


_SLOW = (
    AttentiveNeuralProcess,
    ConditionalNeuralProcess,
    ConvolutionalNeuralProcess,
    ConvolutionalReader,
    DecoderTransformer,
    LatentNeuralProcess,
)


@torch.no_grad()
def surprise(learner: Learner, learned: TaskBatch, asked: TaskBatch) -> Tensor:
    """−log p of the queries of one batch after the supports of another."""
    return -learner.log_prob(learner.adapt(learned.support, learned.classes), asked.query)
