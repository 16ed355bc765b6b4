"""What is seen of an inner loop is what it does, by independent computation."""

import json
import math

import numpy as np
import pytest
import torch
from torch.func import functional_call

from quickstudy.evaluation import Adaptation, evaluate, inspect_adaptation, interval
from quickstudy.learners import ANIL, BOIL, CAVIA, MAML, GradientLearner, ImplicitMAML, MAMLPlusPlus, NearestNeighbour
from quickstudy.networks import MLP, Conv4, PerExample
from quickstudy.tasks import Categorical, Examples, Gaussian, Split, TaskBatch, glyphs, sinusoids

TASKS = 7


def curves() -> Split:
    return sinusoids(6, queries=9, noise=0.1).test


def letters() -> Split:
    return glyphs().episodes(3, 2, 4).test


def regressors() -> dict[str, GradientLearner]:
    return {
        "MAML": MAML(MLP(1, (8, 8)), Gaussian(), 3, 0.05),
        "sum": MAML(MLP(1, (8, 8)), Gaussian(), 2, 0.01, reduction="sum"),
        "ANIL": ANIL(MLP(1, (8, 8)), Gaussian(), 3, 0.05),
        "BOIL": BOIL(MLP(1, (8, 8)), Gaussian(), 3, 0.05),
        "CAVIA": CAVIA(MLP(4, (8,)), Gaussian(), 3, inner_steps=2, inner_rate=0.5),
        "iMAML": ImplicitMAML(MLP(1, (8,)), Gaussian(), 4, 0.05, pull=0.3),
        "MAML++": MAMLPlusPlus(MLP(1, (8,), "layer"), Gaussian(), 2, 0.05),
        "more in evaluation": MAML(MLP(1, (8,)), Gaussian(), 1, 0.05, evaluation_steps=4),
    }


def classifiers() -> dict[str, GradientLearner]:
    def network(policy: str = "support") -> Conv4:
        return Conv4(1, 28, 4, policy)

    return {
        "MAML": MAML(network(), Categorical(3), 2, 0.1),
        "transductive": MAML(network("transductive"), Categorical(3), 2, 0.1),
        "ANIL": ANIL(network(), Categorical(3), 2, 0.1),
    }


EVERYONE = [("curves", name) for name in regressors()] + [("letters", name) for name in classifiers()]


def make(kind: str, name: str) -> tuple[GradientLearner, Split]:
    return (regressors()[name], curves()) if kind == "curves" else (classifiers()[name], letters())


@pytest.mark.parametrize(("kind", "name"), EVERYONE)
def test_it_ends_where_evaluation_does(kind: str, name: str) -> None:
    learner, split = make(kind, name)
    found = inspect_adaptation(learner, split, tasks=TASKS, seed=3, batch_size=3, device="cpu")
    scores = evaluate(learner, split, tasks=TASKS, seed=3, device="cpu")
    assert found.tasks == TASKS
    assert found.steps == len(found.query["nll"]) - 1
    assert set(found.query) == set(found.support) == set(scores.values)
    for metric, values in scores.values.items():
        expected = interval(values)
        assert found.query[metric][-1].mean == pytest.approx(expected.mean, rel=1e-4, abs=1e-6)
        assert found.query[metric][-1].ci95 == pytest.approx(expected.ci95, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize(("kind", "name"), EVERYONE)
def test_it_begins_with_the_network_as_it_is(kind: str, name: str) -> None:
    learner, split = make(kind, name)
    found = inspect_adaptation(learner, split, tasks=TASKS, device="cpu")
    batch = split.draw(0, TASKS, 0)
    learner.eval()
    # Statistics of the support, where the network's policy takes them from there.
    kept = learner.predictor(batch.support.x, batch.support.mask)[1]
    for part, examples in (("support", batch.support), ("query", batch.query)):
        raw = learner.predictor(examples.x, examples.mask, kept)[0].detach()
        distribution = learner.likelihood.distribution(raw, batch.classes)
        nll = -distribution.log_prob(examples.y).mean(1)
        assert getattr(found, part)["nll"][0].mean == pytest.approx(float(nll.mean()), rel=1e-4)
        if kind == "curves":
            error = (raw[..., 0] - examples.y).square().mean()
            assert getattr(found, part)["mse"][0].mean == pytest.approx(float(error), rel=1e-4)
        else:
            right = (raw.argmax(-1) == examples.y).float().mean()
            assert getattr(found, part)["accuracy"][0].mean == pytest.approx(float(right), rel=1e-4)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients_and_changes_are_those_of_plain_descent(reduction: str) -> None:
    learner = MAML(MLP(1, (8, 8)), Gaussian(), 3, 0.02, reduction=reduction)
    split = sinusoids((1, 6), queries=3).test
    found = inspect_adaptation(learner, split, tasks=TASKS, batch_size=4, device="cpu")
    names = [name for name, _ in learner.predictor.named_parameters()]
    layers = {name.rpartition(".")[0]: [] for name in names}
    for name in names:
        layers[name.rpartition(".")[0]].append(name)
    assert list(found.changes) == list(found.gradients) == list(layers)
    assert (found.absolute, found.still) == ((), ())
    lengths, parts, moved = [], {layer: [] for layer in layers}, {layer: [] for layer in layers}
    for task in range(TASKS):
        support = split.draw(task, 1, 0).support
        real = support.mask[0]
        x, y = support.x[:, real], support.y[:, real]
        begin = {name: w.detach() for name, w in learner.predictor.named_parameters()}
        weights = dict(begin)
        for _ in range(4):
            free = {name: w.clone().requires_grad_() for name, w in weights.items()}
            raw = functional_call(learner.predictor, free, (x, torch.ones_like(y, dtype=torch.bool)))[0][..., 0]
            losses = (raw - y).square() + 0.5 * math.log(math.pi)
            slopes = torch.autograd.grad(losses.mean() if reduction == "mean" else losses.sum(), list(free.values()))
            slope = dict(zip(free, slopes, strict=True))
            lengths.append(torch.cat([s.flatten() for s in slopes]).norm())
            for layer, members in layers.items():
                length = lambda found, members=members: torch.cat([found[m].flatten() for m in members]).norm()
                parts[layer].append(length(slope))
                gone = {name: weights[name] - begin[name] for name in members}
                moved[layer].append(length(gone) / length(begin))
            weights = {name: weights[name] - 0.02 * slope[name] for name in weights}

    def agrees(course: tuple, values: list[torch.Tensor]) -> None:
        expected = [interval(row) for row in torch.stack(values).reshape(TASKS, 4).T.double().numpy()]
        for ours, theirs in zip(course, expected, strict=True):
            assert ours.mean == pytest.approx(theirs.mean, rel=1e-3, abs=1e-7)
            assert ours.ci95 == pytest.approx(theirs.ci95, rel=1e-3, abs=1e-6)

    agrees(found.gradient, lengths)
    for layer in layers:
        agrees(found.gradients[layer], parts[layer])
        agrees(found.changes[layer], moved[layer])


def test_a_pull_is_part_of_what_is_gone_down() -> None:
    learner, split = regressors()["iMAML"], curves()
    found = inspect_adaptation(learner, split, tasks=1, device="cpu")
    states = list(learner.eval().trajectory(split.draw(0, 1, 0).support))
    # The first step goes against the slopes: rate times their length.
    gone = [states[1].phi["weights"][name] - states[0].phi["weights"][name] for name in states[0].slopes]
    distance = torch.cat([each.flatten() for each in gone]).norm()
    assert found.gradient[0].mean * learner.inner_rate == pytest.approx(float(distance), rel=1e-3)
    assert math.isnan(found.gradient[0].ci95)


@pytest.mark.parametrize(("kind", "name"), EVERYONE)
def test_squares_of_the_layers_add_up(kind: str, name: str) -> None:
    learner, split = make(kind, name)
    found = inspect_adaptation(learner, split, tasks=1, device="cpu")
    for step, whole in enumerate(found.gradient):
        parts = [course[step].mean for course in found.gradients.values()]
        assert math.hypot(*parts) == pytest.approx(whole.mean, rel=1e-5)
    assert set(found.gradients) == set(found.changes)
    assert all(course[0].mean == 0 for course in found.changes.values())
    assert all(course[-1].mean > 0 for course in found.changes.values())


def test_layers_that_do_not_adapt_are_known_as_such() -> None:
    learners, split = regressors(), curves()

    def layers(name: str) -> tuple[set[str], set[str]]:
        found = inspect_adaptation(learners[name], split, tasks=3, device="cpu")
        return set(found.changes), set(found.still)

    body = {"network.layers.0", "network.layers.1"}
    assert layers("MAML") == (body | {"head"}, set())
    assert layers("ANIL") == ({"head"}, body)
    assert layers("BOIL") == (body, {"head"})
    assert layers("MAML++") == ({"network.layers.0", "head"}, {"network.normalizations.0"})


def test_a_context_has_no_length_to_compare_with() -> None:
    learner, split = regressors()["CAVIA"], curves()
    found = inspect_adaptation(learner, split, tasks=TASKS, device="cpu")
    assert list(found.changes) == ["network.context"]
    assert found.absolute == ("network.context",)
    assert set(found.still) == {"network.network.layers.0", "head"}
    context = learner.adapt(split.draw(0, TASKS, 0).support)["weights"]["network.context"]
    assert found.changes["network.context"][-1].mean == pytest.approx(
        float(context.detach().norm(dim=1).mean()), rel=1e-4
    )


@pytest.mark.parametrize(
    ("adapting", "moves", "still"),
    [
        ("bias", {"network.module.0.bias", "network.module.2.bias", "head.bias"}, None),
        ("head.bias", {"head.bias"}, {"network.module.0", "network.module.2", "head.weight"}),
        ("module", {"network.module.0", "network.module.2"}, {"head"}),
    ],
)
def test_parts_of_a_layer_have_their_full_names(adapting: str, moves: set[str], still: set[str] | None) -> None:
    body = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4))
    learner = MAML(PerExample(body, 4), Gaussian(), 1, 0.1, adapting=adapting)
    found = inspect_adaptation(learner, curves(), tasks=2, device="cpu")
    assert set(found.changes) == moves
    if still is not None:
        assert set(found.still) == still


def test_it_can_be_kept() -> None:
    found = inspect_adaptation(classifiers()["ANIL"], letters(), tasks=3, device="cpu")
    assert Adaptation.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found.metric == "accuracy"
    alone = inspect_adaptation(regressors()["CAVIA"], curves(), tasks=1, device="cpu")
    again = Adaptation.from_json(json.loads(json.dumps(alone.to_json())))
    assert again.to_json() == alone.to_json()
    assert math.isnan(again.query["mse"][0].ci95)
    assert (again.metric, again.absolute, again.still) == ("mse", alone.absolute, alone.still)


def test_tasks_do_not_depend_on_their_batch() -> None:
    learner, split = regressors()["MAML"], sinusoids((0, 5), queries=4).test
    one, other = (
        inspect_adaptation(learner, split, tasks=20, batch_size=size, device="cpu").to_json() for size in (20, 3)
    )
    for part in ("support", "query", "changes"):
        for name, course in one[part].items():
            np.testing.assert_allclose(course["mean"], other[part][name]["mean"], rtol=1e-4, atol=1e-6)
            assert course["tasks"] == other[part][name]["tasks"]


def test_tasks_without_a_support_have_no_loss_there() -> None:
    learner = regressors()["MAML"]
    split = sinusoids((0, 2), queries=4).test
    with_some = int(split.draw(0, 30, 0).support.mask.any(1).sum())
    assert 0 < with_some < 30
    found = inspect_adaptation(learner, split, tasks=30, device="cpu")
    assert found.support["mse"][0].tasks == with_some
    assert found.query["mse"][0].tasks == found.tasks == 30
    nothing = inspect_adaptation(learner, sinusoids(0, queries=4).test, tasks=3, device="cpu")
    assert nothing.support == {}
    assert [each.mean for each in nothing.gradient] == [0.0] * 4
    assert len({each.mean for each in nothing.query["mse"]}) == 1


class Fixed(Split):
    """Three tasks, the middle one of which has a target that is no number."""

    name, size, kind = "fixed", 3, "regression"

    def draw(self, first: int, count: int, seed: int) -> TaskBatch:
        y = torch.zeros(3, 2)
        y[1, 0] = math.nan
        part = Examples.of(torch.ones(3, 2, 1), y)
        return TaskBatch(part, Examples.of(torch.ones(3, 2, 1), torch.zeros(3, 2)))[slice(first, first + count)]


def test_what_is_wrong_is_named() -> None:
    learner, split = regressors()["MAML"], curves()
    with pytest.raises(ValueError, match="tasks and batch_size must be at least 1, got 0 and 32"):
        inspect_adaptation(learner, split, tasks=0, device="cpu")
    with pytest.raises(ValueError, match=r"support\.y.*the batch is split\.draw\(1, 1, 0\)"):
        inspect_adaptation(learner, Fixed(), batch_size=1, device="cpu")
    wild = MAML(MLP(1, (8,)), Gaussian(), 60, 1e3)
    with pytest.raises(ValueError, match=r"not finite.*the batch is split\.draw\(0, 5, 0\)"):
        inspect_adaptation(wild, split, tasks=5, device="cpu")


@pytest.mark.unchecked
def test_what_is_of_another_type_is_named() -> None:
    learner, split = regressors()["MAML"], curves()
    with pytest.raises(TypeError, match="learner must be a GradientLearner such as MAML, .* got NearestNeighbour"):
        inspect_adaptation(NearestNeighbour(likelihood=Gaussian()), split, device="cpu")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="split must be a Split such as source.test, got TaskSource"):
        inspect_adaptation(learner, sinusoids(), device="cpu")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tasks must be a whole number, got 2.5"):
        inspect_adaptation(learner, split, tasks=2.5, device="cpu")  # type: ignore[arg-type]


def test_the_learner_is_left_as_it_was() -> None:
    learner, split = regressors()["more in evaluation"].train(), curves()
    before = {name: w.clone() for name, w in learner.state_dict().items()}
    assert inspect_adaptation(learner, split, tasks=2, device="cpu").steps == 4
    assert learner.training
    with pytest.raises(ValueError, match="not finite"):
        inspect_adaptation(learner, Fixed(), device="cpu")
    assert learner.training
    assert all(torch.equal(w, before[name]) for name, w in learner.state_dict().items())
    assert all(w.grad is None for w in learner.parameters())


def test_weights_that_are_single_numbers_are_layers_too() -> None:
    """Those of TaskNorm."""
    learner = MAML(MLP(1, (4,), "task"), Gaussian(), 2, 0.01)
    found = inspect_adaptation(learner, sinusoids(4, 4).test, tasks=3, device="cpu")
    assert "network.normalizations.0" in found.changes
