"""Every learner, given tasks as they come and as they should not."""

import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.utils._pytree import tree_leaves

import quickstudy as qs
from quickstudy.learners import Learner
from quickstudy.tasks import Examples, TaskBatch

from .promises import kept, modest, refused, well_formed
from .strategies import LEARNERS, MUTATIONS, batches, learners

pytestmark = pytest.mark.unchecked

# What an error about a batch may name.
PLACES = r"(support|query|examples|classes|mask|\bx\b|\by\b|MLP|inputs|targets|tasks|phi|φ|Categorical|Gaussian)"


@modest(150)
@given(st.data())
def test_valid_tasks_are_learned(data: st.DataObject) -> None:
    learner = data.draw(learners())
    batch = data.draw(batches(learner.likelihood.kind))
    losses = learner(batch)
    assert losses.shape == (batch.tasks,)
    assert torch.isfinite(losses).all()
    phi = learner.adapt(batch.support, batch.classes)
    assert all(len(leaf) == batch.tasks for leaf in tree_leaves(phi))
    well_formed(learner.predict(phi, batch.query.x, batch.query.mask), batch.query.mask, batch.classes)
    assert torch.isfinite(learner.log_prob(phi, batch.query)).all()


@modest(60)
@given(st.data())
def test_numbers_of_any_size_are_learned_or_refused(data: st.DataObject) -> None:
    """From the smallest to what overflows: a prediction is finite, or an error names its task."""
    learner = data.draw(learners())
    batch = data.draw(batches(learner.likelihood.kind, (1e-40, 1e-12, 1e6, 1e18, 1e30, 3e38)))
    phi = kept(lambda: learner.adapt(batch.support, batch.classes), PLACES)
    if phi is not None:
        prediction = kept(lambda: learner.predict(phi, batch.query.x, batch.query.mask), "not finite in task")
        if prediction is not None:
            well_formed(prediction, batch.query.mask, batch.classes)


def everything(learner: Learner, batch: TaskBatch) -> None:
    """All that can be done with a batch, each either done or refused by name."""
    kept(batch.check, PLACES)
    kept(batch.check_values, PLACES)
    kept(lambda: learner(batch), PLACES)
    phi = kept(lambda: learner.adapt(batch.support, batch.classes), PLACES)
    if phi is None or not isinstance(batch.query, Examples):
        return
    query = batch.query
    prediction = kept(lambda: learner.predict(phi, query.x, query.mask), PLACES)
    if prediction is not None:
        real = torch.ones(prediction.batch_shape, dtype=torch.bool) if query.mask is None else query.mask
        well_formed(prediction, real, phi.get("classes"))
    log_prob = kept(lambda: learner.log_prob(phi, query), PLACES)
    if log_prob is not None and prediction is not None:
        assert torch.isfinite(log_prob).all()
    updated = kept(lambda: learner.update(phi, query), PLACES + r"|cannot add")
    if updated is not None:
        well_formed(learner.predict(updated, query.x, query.mask), query.mask)


@modest(600)
@given(st.data())
def test_mutilated_tasks_are_refused_by_name(data: st.DataObject) -> None:
    learner = data.draw(learners())
    batch = data.draw(batches(learner.likelihood.kind))
    everything(learner, data.draw(st.sampled_from(sorted(MUTATIONS)).map(MUTATIONS.__getitem__))(batch))


def batch_of(kind: str) -> TaskBatch:
    """Two whole tasks."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 8, 6, generator=generator)
    y = {
        "classification": torch.arange(8).remainder(4).expand(2, 8).clone(),
        "binary": torch.arange(8).remainder(2).float().expand(2, 8).clone(),
        "regression": x[..., 0].clone(),
    }[kind]
    classes = torch.ones(2, 4, dtype=torch.bool) if kind == "classification" else None
    return TaskBatch(Examples.of(x[:, :4], y[:, :4]), Examples.of(x[:, 4:], y[:, 4:]), classes)


@pytest.mark.parametrize("name", LEARNERS)
def test_every_mutilation_of_every_learner(name: str) -> None:
    """One after another, what the property above draws at random."""
    kind = sorted(LEARNERS[name].kinds)[0]
    learner = LEARNERS[name].example(kind, "none")
    for mutate in MUTATIONS.values():
        everything(learner, mutate(batch_of(kind)))


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused_where_they_are_real(name: str, value: float) -> None:
    kind = sorted(LEARNERS[name].kinds)[0]
    learner, batch = LEARNERS[name].example(kind, "none"), batch_of(kind)
    phi = learner.adapt(batch.support, batch.classes)
    for part in ("support", "query"):
        bad = batch.map(torch.clone)
        getattr(bad, part).x[1, 2] = value
        refused(lambda bad=bad: learner(bad), rf"{part}.x has a value that is not finite in task 1")
        refused(bad.check_values, rf"{part}.x has a value that is not finite in task 1")
        # The same in padding changes nothing.
        getattr(bad, part).mask[1, 2] = False
        assert torch.isfinite(learner(bad)).all()
    bad = batch.map(torch.clone)
    bad.support.x[1, 2] = bad.query.x[1, 2] = value
    refused(lambda: learner.adapt(bad.support, bad.classes), r"support.x .* task 1")
    refused(lambda: learner.predict(phi, bad.query.x), r"query.x .* task 1")
    refused(lambda: learner.log_prob(phi, bad.query), r"query.x .* task 1")


@pytest.mark.parametrize("name", LEARNERS)
def test_a_foreign_phi_is_refused(name: str) -> None:
    kind = sorted(LEARNERS[name].kinds)[0]
    learner, batch = LEARNERS[name].example(kind, "none"), batch_of(kind)
    phi = learner.adapt(batch.support, batch.classes)
    one = learner.adapt(batch.support[0], None if batch.classes is None else batch.classes[:1])
    for foreign in (None, [], "φ", {"statistics": None}, {"classes": 3}):
        refused(lambda foreign=foreign: learner.predict(foreign, batch.query.x), "phi")
    for other in (MISSING, one):
        if other is MISSING and not learner.adapts:
            continue  # it knows nothing of a task, so nothing can be missing
        call = lambda other=other: learner.predict({} if other is MISSING else other, batch.query.x)
        refused(call, "phi") if other is MISSING or tree_leaves(one) else call()
    well_formed(learner.predict(phi, batch.query.x), batch.query.mask, batch.classes)


MISSING = object()


@modest(120)
@given(st.data())
@example(None)
def test_one_task_is_learned_or_refused(data: st.DataObject | None) -> None:
    """The friendly face takes arrays, lists and tensors."""
    learner = qs.learners.PrototypicalNetwork(qs.networks.MLP(6, (8,)))
    if data is None:
        # A label like an identifier would ask for a vector of that length for every example.
        refused(lambda: learner.adapted(torch.randn(2, 6), torch.tensor([0, 2**40])), "support.y is 1099511627776")
        refused(lambda: learner.adapted(torch.randn(2, 6), torch.tensor([0, 1]), classes=[0, 10**12]), "classes")
        return
    things = st.sampled_from([None, 1, "x", [], [[]], [0, 1, 0], [0.5, 1.0], [math.nan] * 3, [-1, 0, 1], [[0, 1]] * 3,
                              [["a"]], {}, {"a": 1}, torch.zeros(3, 6), torch.zeros(0, 6), torch.full((3, 6), math.inf),
                              torch.tensor([0, 1, 1]), torch.zeros(3, 2, 6), [[1.0] * 6] * 3])  # fmt: skip
    x, y, classes, asked = (data.draw(things) for _ in range(4))
    adapted = kept(lambda: learner.adapted(x, y, data.draw(st.sampled_from([None, None, classes]))))
    if adapted is not None:
        prediction = kept(lambda: adapted(asked))
        if prediction is not None:
            assert torch.isfinite(prediction.probs).all()


def test_what_is_asked_with_values_that_are_not_finite_is_refused() -> None:
    learner = qs.learners.PrototypicalNetwork(qs.networks.MLP(6, (8,)))
    with torch.no_grad():
        learner.network.layers[0].weight.mul_(100)
    adapted = learner.adapted(torch.randn(4, 6), torch.tensor([0, 1, 0, 1]))
    refused(lambda: adapted(torch.full((1, 6), math.nan)), "query.x has a value that is not finite")
    refused(lambda: adapted(torch.full((1, 6), 3e38)), "not finite")
