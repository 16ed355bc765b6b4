"""Every way of taking the meta-gradient, held to what it must equal or come near."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.learners import (
    ANIL,
    CAVIA,
    MAML,
    EvolutionStrategies,
    Exact,
    FirstOrder,
    GradientLearner,
    Implicit,
    ImplicitMAML,
    MAMLPlusPlus,
    MetaGradient,
    MetaSGD,
    Truncated,
)
from quickstudy.networks import MLP, Conv4, PerExample
from quickstudy.tasks import Categorical, Examples, Gaussian, TaskBatch

from .test_maml import double, regression, tanh_network

__all__ = ["double"]

STEPS = 4


def learner_of(cls: type[GradientLearner], meta_gradient: MetaGradient, steps: int = STEPS) -> GradientLearner:
    torch.manual_seed(3)
    extra = {"multi_step_losses": 0} if cls is MAMLPlusPlus else {}
    extra |= {"place": "module.0"} if cls is CAVIA else {}
    return cls(tanh_network(), Gaussian(), inner_steps=steps, inner_rate=0.1, meta_gradient=meta_gradient, **extra)


def gradient(learner: GradientLearner, batch: TaskBatch) -> list[Tensor]:
    learned = [weight for weight in learner.parameters() if weight.requires_grad]
    return list(torch.autograd.grad(learner(batch).mean(), learned, materialize_grads=True))


def flat(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in parts])


ALL = (MAML, ANIL, MetaSGD, MAMLPlusPlus, CAVIA)


@pytest.mark.parametrize("cls", ALL)
def test_steps_that_are_computed_twice_give_the_same(cls: type[GradientLearner]) -> None:
    batch = regression()
    exact = gradient(learner_of(cls, Exact()), batch)
    assert_close(gradient(learner_of(cls, Exact(checkpoint=True)), batch), exact)
    assert_close(gradient(learner_of(cls, Truncated(STEPS)), batch), exact)


@pytest.mark.parametrize("cls", ALL)
def test_nothing_but_derivatives_differs(cls: type[GradientLearner]) -> None:
    """The value of the loss, and predictions, are those of the same steps."""
    batch, ways = regression(), (Exact(), FirstOrder(), Truncated(2), EvolutionStrategies(2))
    losses = [learner_of(cls, way)(batch).detach() for way in ways]
    for other in losses[1:]:
        assert_close(other, losses[0])


@pytest.mark.parametrize("cls", ALL)
def test_no_step_truncated_is_first_order(cls: type[GradientLearner]) -> None:
    batch = regression()
    assert_close(gradient(learner_of(cls, Truncated(0)), batch), gradient(learner_of(cls, FirstOrder()), batch))


def test_first_order_is_the_gradient_where_the_steps_end() -> None:
    learner, batch = learner_of(MAML, FirstOrder()), regression()
    phi = learner.adapt(batch.support)
    ends = {name: weight.detach().requires_grad_() for name, weight in phi["weights"].items()}
    losses = -learner.log_prob({**phi, "weights": ends}, batch.query) / batch.query.count
    expected = [g.sum(0) for g in torch.autograd.grad(losses.mean(), list(ends.values()))]
    assert_close(gradient(learner, batch), expected)


def test_truncated_passes_through_the_last_steps() -> None:
    """Held to exact differentiation from where the earlier steps led."""
    learner, batch = learner_of(MAML, Truncated(2)), regression()
    total = []
    for task in range(batch.tasks):
        one = batch[task]
        half = learner_of(MAML, FirstOrder(), STEPS - 2)
        reached = {name: w[0].detach() for name, w in half.adapt(one.support)["weights"].items()}
        rest = learner_of(MAML, Exact(), 2)
        rest.predictor.load_state_dict(reached)
        total.append(flat(gradient(rest, one)))
    assert_close(flat(gradient(learner, batch)), torch.stack(total).mean(0))


def test_bias_shrinks_with_every_step_that_is_kept() -> None:
    batch = regression()
    exact = flat(gradient(learner_of(MAML, Exact()), batch))
    errors = [float((flat(gradient(learner_of(MAML, Truncated(k)), batch)) - exact).norm()) for k in range(STEPS + 1)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-12 < errors[0]


def pulled(cls: type[GradientLearner], steps: int, pull: float) -> GradientLearner:
    """Differentiated through the very steps that the implicit gradient does not look at."""
    way = Exact()
    way.pull = pull
    return learner_of(cls, way, steps)


@pytest.mark.parametrize("cls", [MAML, ANIL])
def test_implicit_gradients_become_exact_as_the_inner_problem_is_solved(cls: type[GradientLearner]) -> None:
    batch, errors = regression(), []
    for steps in (5, 20, 60):
        exact = flat(gradient(pulled(cls, steps, 5.0), batch))
        implicit = flat(gradient(learner_of(cls, Implicit(5.0, iterations=30), steps), batch))
        errors.append(float((implicit - exact).norm() / exact.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6 < 1e-3 < errors[0]


def test_implicit_gradient_of_a_quadratic_is_a_linear_system() -> None:
    """Least squares: H = 2/n XᵀX is constant, φ = θ − (H + λ)⁻¹ H (θ − w*), dφ/dθ = λ (H + λ)⁻¹."""
    pull, n = 0.7, 6
    x, y, asked, answer = torch.randn(1, n, 3), torch.randn(1, n), torch.randn(1, 5, 3), torch.randn(1, 5)
    learner = MAML(PerExample(nn.Identity(), 3), Gaussian(), 500, 0.2, meta_gradient=Implicit(pull, iterations=10))
    a, c = (torch.cat([part[0], torch.ones(len(part[0]), 1)], 1) for part in (x, asked))
    theta = torch.cat([learner.predictor.head.weight[0], learner.predictor.head.bias]).detach()
    hessian = 2 / n * a.T @ a
    system = hessian + pull * torch.eye(4)
    phi = torch.linalg.solve(system, 2 / n * a.T @ y[0] + pull * theta)
    above = 2 / 5 * c.T @ (c @ phi - answer[0])
    expected = pull * torch.linalg.solve(system, above)
    got = flat(gradient(learner, TaskBatch(Examples.of(x, y), Examples.of(asked, answer))))
    assert_close(got, expected)


def test_conjugate_gradients_are_cut_short_to_first_order() -> None:
    """One iteration scales the outer gradient, for every task by itself."""
    batch = regression(tasks=1)
    one = learner_of(MAML, Implicit(1.0, iterations=1))
    ends = one.adapt(batch.support)["weights"]
    free = {name: weight.detach().requires_grad_() for name, weight in ends.items()}
    loss = -one.log_prob({**one.adapt(batch.support), "weights": free}, batch.query) / batch.query.count
    above = flat([g[0] for g in torch.autograd.grad(loss.sum(), list(free.values()))])
    assert_close(torch.cosine_similarity(flat(gradient(one, batch)), above, 0), torch.tensor(1.0))


def test_implicit_maml_is_maml_with_an_implicit_gradient() -> None:
    torch.manual_seed(3)
    learner, batch = ImplicitMAML(tanh_network(), Gaussian(), 6, 0.1, pull=0.5, iterations=3), regression()
    assert_close(gradient(learner, batch), gradient(learner_of(MAML, Implicit(0.5, 3), 6), batch))


@pytest.mark.unchecked  # thousands of small calls
def test_evolution_strategies_are_right_on_average() -> None:
    """Over many draws the mean lies within the noise of the exact gradient, and the noise shrinks with the pairs."""
    torch.manual_seed(0)
    network = PerExample(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), 2)
    learner, batch = MAML(network, Gaussian(), 1, 0.1), regression()
    exact = flat(gradient(learner, batch))
    learner.meta_gradient = EvolutionStrategies(pairs=2, deviation=1e-4)
    draws = torch.stack([flat(gradient(learner, batch)) for _ in range(100)])
    error = (draws.mean(0) - exact) / (draws.std(0) / len(draws) ** 0.5)
    assert (error.abs() < 4).all()
    learner.meta_gradient = EvolutionStrategies(pairs=18, deviation=1e-4)
    fewer = torch.stack([flat(gradient(learner, batch)) for _ in range(12)])
    assert_close(fewer.std(0).mean() / draws.std(0).mean(), torch.tensor(1 / 3), rtol=0.4, atol=0)


WAYS = {
    "exact": Exact(),
    "recomputed": Exact(checkpoint=True),
    "first order": FirstOrder(),
    "truncated": Truncated(2),
    "implicit": Implicit(1.0, 8),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", ["support", "transductive", "none"])
def test_any_number_of_tasks_at_once(way: str, policy: str) -> None:
    """On images, in value and gradient: a loop, two at a time, all at once."""
    torch.manual_seed(0)
    learner = MAML(Conv4(1, 16, 4, policy), Categorical(3), 3, 0.1, meta_gradient=WAYS[way])
    y = torch.tensor([[0, 1, 2, 0, 1, 2], [2, 1, 0, 0, 0, 0], [0, 1, 2, 2, 1, 0]])
    mask = torch.tensor([[True] * 6, [True] * 3 + [False] * 3, [True] * 5 + [False]])
    support = Examples(torch.rand(3, 6, 1, 16, 16), y, mask)
    batch = TaskBatch(support, Examples.of(torch.rand(3, 6, 1, 16, 16), y), torch.ones(3, 3, dtype=torch.bool))
    found = []
    for learner.tasks_at_once in (1, 2, 100, None):
        losses = learner(batch)
        found.append((losses, *torch.autograd.grad(losses.sum(), list(learner.parameters()))))
    for other in found[1:]:
        assert_close(other, found[0])


@pytest.mark.parametrize("way", WAYS)
def test_padding_and_empty_supports(way: str) -> None:
    """Finite, and for a task without support the plain gradient."""
    learner, batch = learner_of(MAML, WAYS[way]), regression()
    batch.support.mask = torch.zeros_like(batch.support.mask)
    raw = functional_call(learner.predictor, {}, (batch.query.x, batch.query.mask))[0][..., 0]
    plain = (raw - batch.query.y).square().mean(1).mean()
    assert_close(gradient(learner, batch), list(torch.autograd.grad(plain, list(learner.parameters()))))


@pytest.mark.parametrize("way", [*WAYS.values(), EvolutionStrategies(3)], ids=lambda way: type(way).__name__)
def test_they_are_saved_with_their_learner(way: MetaGradient, tmp_path: object) -> None:
    qs.save(MAML(MLP(2, (4,)), Gaussian(), meta_gradient=way), f"{tmp_path}/l")
    back = qs.load(f"{tmp_path}/l").meta_gradient
    assert type(back) is type(way)
    assert vars(back) == vars(way)


@pytest.mark.unchecked
@pytest.mark.parametrize("way", WAYS)
def test_compiled_as_one_graph(way: str) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    learner, batch = MAML(MLP(2, (6,)), Gaussian(), 2, 0.1, meta_gradient=WAYS[way]), regression()
    compiled = torch.compile(learner, fullgraph=True, dynamic=False, backend="aot_eager")
    assert_close(compiled(batch), learner(batch))
    for a, b in zip(
        torch.autograd.grad(compiled(batch).sum(), list(learner.parameters())),
        torch.autograd.grad(learner(batch).sum(), list(learner.parameters())),
        strict=True,
    ):
        assert_close(a, b)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (partial(Truncated, -1), "steps must not be negative, got -1"),
        (partial(Implicit, 0.0), "pull must be positive, got 0.0"),
        (partial(Implicit, 1.0, 0), "iterations must be at least 1, got 0"),
        (partial(EvolutionStrategies, 0), "pairs must be at least 1, got 0"),
        (partial(EvolutionStrategies, 1, 0.0), "deviation must be positive, got 0.0"),
    ],
)
def test_bad_arguments(build: partial, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
