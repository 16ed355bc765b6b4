"""Meta-gradients against what they must equal: finite differences, a closed form, `higher`, and each other."""

import math
from itertools import pairwise

import higher
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.learners import ANIL, BOIL, MAML, Exact, FirstOrder
from quickstudy.networks import MLP, Conv4, PerExample
from quickstudy.tasks import Categorical, Examples, Gaussian, TaskBatch


@pytest.fixture(autouse=True)
def double() -> object:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def regression(tasks: int = 3, shots: int = 5, queries: int = 4, inputs: int = 2) -> TaskBatch:
    mask = torch.arange(shots) < torch.tensor([shots, shots - 2, 1])[:tasks, None]
    support = Examples(torch.randn(tasks, shots, inputs), torch.randn(tasks, shots), mask)
    return TaskBatch(support, Examples.of(torch.randn(tasks, queries, inputs), torch.randn(tasks, queries)))


def gradients(learner: MAML, batch: TaskBatch) -> list[Tensor]:
    return list(torch.autograd.grad(learner(batch).mean(), list(learner.parameters())))


def tanh_network() -> PerExample:
    """Smooth, so that finite differences are exact to many digits."""
    return PerExample(nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh()), 4)


@pytest.mark.unchecked  # thousands of small calls
@pytest.mark.parametrize("steps", [1, 3])
def test_meta_gradient_equals_finite_differences(steps: int) -> None:
    learner, batch = MAML(tanh_network(), Gaussian(), steps, 0.1), regression()
    names, values = zip(*learner.named_parameters(), strict=True)

    def loss(*parameters: Tensor) -> Tensor:
        return functional_call(learner, dict(zip(names, parameters, strict=True)), (batch,)).mean()

    assert torch.autograd.gradcheck(loss, tuple(v.detach().clone().requires_grad_() for v in values))


def test_linear_model_has_a_closed_form() -> None:
    """One step on least squares: w' = w − 2α/n Xᵀ(Xw − y), so the outer gradient passes (I − 2α/n XᵀX)."""
    learner = MAML(PerExample(nn.Identity(), 3), Gaussian(), 1, 0.05)
    with torch.no_grad():
        learner.predictor.head.bias.zero_()
    support = Examples.of(torch.randn(1, 6, 3), torch.randn(1, 6))
    query = Examples.of(torch.randn(1, 5, 3), torch.randn(1, 5))
    got = torch.autograd.grad(learner(TaskBatch(support, query)).sum(), learner.predictor.head.weight)[0][0]

    ones = lambda x: torch.cat([x[0], torch.ones(len(x[0]), 1)], 1)
    a, b, c, d = ones(support.x), support.y[0], ones(query.x), query.y[0]
    w = torch.cat([learner.predictor.head.weight[0].detach(), torch.zeros(1)])
    adapted = w - 0.05 * 2 / 6 * a.T @ (a @ w - b)
    outer = 2 / 5 * c.T @ (c @ adapted - d)
    expected = (torch.eye(4) - 0.05 * 2 / 6 * a.T @ a) @ outer
    assert_close(got, expected[:3])


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_equals_higher(steps: int, first_order: bool) -> None:
    learner = MAML(tanh_network(), Gaussian(), steps, 0.1, meta_gradient=FirstOrder() if first_order else Exact())
    batch = regression()
    ours = gradients(learner, batch)

    module = nn.Sequential(*learner.network.module, learner.predictor.head)
    total = 0.0
    module.zero_grad()
    for task in range(3):
        one = batch[task]
        real = one.support.mask[0]
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        with higher.innerloop_ctx(
            module, optimizer, copy_initial_weights=False, track_higher_grads=not first_order
        ) as (fast, inner):
            for _ in range(steps):
                inner.step(F.mse_loss(fast(one.support.x[0][real])[:, 0], one.support.y[0][real]))
            loss = F.mse_loss(fast(one.query.x[0])[:, 0], one.query.y[0]) / 3
            if first_order and steps:
                # higher's first order leaves the gradient with the last fast weights.
                grads = torch.autograd.grad(loss, list(fast.parameters()))
                for parameter, g in zip(module.parameters(), grads, strict=True):
                    parameter.grad = g if parameter.grad is None else parameter.grad + g
            else:
                loss.backward()
        total += float(loss)
    theirs = [parameter.grad for parameter in module.parameters()]
    assert_close(ours, theirs)
    assert_close(float(learner(batch).mean()) - 0.5 * math.log(math.pi), total)


@pytest.mark.parametrize("policy", ["support", "transductive", "layer", "none"])
def test_equals_a_plain_loop_on_images(policy: str) -> None:
    """Second order through convolutions and normalization: vectorised equals looped to rounding."""
    learner = MAML(Conv4(1, 16, 4, policy), Categorical(3), 2, 0.1)
    y = torch.tensor([[0, 1, 2, 0, 1, 2], [2, 1, 0, 0, 0, 0]])
    support = Examples(torch.rand(2, 6, 1, 16, 16), y, torch.tensor([[True] * 6, [True] * 3 + [False] * 3]))
    batch = TaskBatch(support, Examples.of(torch.rand(2, 6, 1, 16, 16), y), torch.ones(2, 3, dtype=torch.bool))
    vectorised = gradients(learner, batch)
    learner.tasks_at_once = 1
    assert_close(gradients(learner, batch), vectorised)


def test_zero_steps_are_the_initial_network() -> None:
    learner, batch = MAML(MLP(2, (4,)), Gaussian(), 0), regression()
    raw, _ = learner.predictor(batch.query.x, batch.query.mask)
    assert_close(learner.outputs(learner.adapt(batch.support), batch.query.x), raw)


def test_evaluation_steps_apply_in_evaluation_mode() -> None:
    learner, batch = MAML(MLP(2, (4,)), Gaussian(), 1, 0.1, evaluation_steps=4), regression()
    trained = learner.train().adapt(batch.support)["weights"]
    evaluated = learner.eval().adapt(batch.support)["weights"]
    learner.inner_steps = 4
    assert_close(learner.train().adapt(batch.support)["weights"], evaluated)
    assert not torch.allclose(trained["head.weight"], evaluated["head.weight"])


def test_a_trajectory_visits_every_step_and_leaves_gradients_on() -> None:
    learner, batch, visited = MAML(MLP(2, (4,)), Gaussian(), 2, 0.1).eval(), regression(), []
    for state in learner.trajectory(batch.support):
        assert torch.is_grad_enabled()
        visited.append(state)
    assert len(visited) == 3
    assert_close(visited[2].phi, learner.adapt(batch.support))
    name = "head.weight"
    for before, after in pairwise(visited):
        assert_close(after.phi["weights"][name], before.phi["weights"][name] - 0.1 * before.slopes[name])
    assert not any(state.phi["weights"][name].requires_grad for state in visited)


def test_absent_classes_take_no_part_in_the_inner_loop() -> None:
    learner = MAML(MLP(2, (4,)), Categorical(3), 3, 0.5)
    support = Examples.of(torch.randn(1, 4, 2), torch.tensor([[0, 1, 0, 1]]))
    phi = learner.adapt(support, torch.tensor([[True, True, False]]))
    assert_close(phi["weights"]["head.bias"][0, 2], learner.predictor.head.bias[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inner_steps": -1}, "steps must not be negative, got -1"),
        ({"inner_rate": 0.0}, "inner_rate must be positive, got 0.0"),
        ({"tasks_at_once": 0}, "tasks_at_once must be None or at least 1, got 0"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MAML(MLP(2), Gaussian(), **options)
    with pytest.raises(ValueError, match="say how many classes"):
        MAML(MLP(2), Categorical())
    with pytest.raises(ValueError, match="running averages cannot follow"):
        MAML(Conv4(normalization="running"), Categorical(5))


@pytest.mark.parametrize(("cls", "adapts"), [(ANIL, "head"), (BOIL, "network")])
def test_a_part_adapts_as_if_the_rest_had_no_rate(cls: type[MAML], adapts: str) -> None:
    """Held to MAML written out with the other weights held still, in value and in all gradients."""
    learner, batch = cls(tanh_network(), Gaussian(), 3, 0.1), regression()
    module = nn.Sequential(*learner.network.module, learner.predictor.head)
    still = {name for name in dict(module.named_parameters()) if (int(name[0]) == 4) != (adapts == "head")}
    total = 0.0
    for task in range(3):
        one = batch[task]
        real = one.support.mask[0]
        weights = dict(module.named_parameters())
        for _ in range(3):
            loss = F.mse_loss(functional_call(module, weights, one.support.x[0][real])[:, 0], one.support.y[0][real])
            moving = [name for name in weights if name not in still]
            slopes = torch.autograd.grad(loss, [weights[name] for name in moving], create_graph=True)
            weights |= {name: weights[name] - 0.1 * slope for name, slope in zip(moving, slopes, strict=True)}
        total = total + F.mse_loss(functional_call(module, weights, one.query.x[0])[:, 0], one.query.y[0]) / 3
    assert_close(gradients(learner, batch), list(torch.autograd.grad(total, list(module.parameters()))))
    assert set(learner.adapt(batch.support)["weights"]) == {
        f"{adapts}.{name}" for name, _ in learner.predictor.get_submodule(adapts).named_parameters()
    }
    assert not learner.self_contained


def test_which_weights_adapt_is_a_selector_for_any_module(tmp_path: object) -> None:
    learner, batch = MAML(tanh_network(), Gaussian(), 2, 0.1, adapting=r"bias$"), regression()
    assert set(learner.adapt(batch.support)["weights"]) == {
        "network.module.0.bias",
        "network.module.2.bias",
        "head.bias",
    }
    learner = MAML(MLP(2, (4,)), Gaussian(), 2, 0.1, adapting=r"bias$")
    qs.save(learner, f"{tmp_path}/l")
    assert qs.load(f"{tmp_path}/l").adapting == r"bias$"
    with pytest.raises(ValueError, match="adapting is 'gate', which none of the weights answers to: network.module.0"):
        MAML(tanh_network(), Gaussian(), adapting="gate")
