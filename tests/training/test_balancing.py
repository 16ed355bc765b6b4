"""Balancing methods through `fit`, against TorchJD called directly and against closed forms."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.testing import assert_close
from torchjd import aggregation as A
from torchjd import scalarization as S
from torchjd.autojac import jac_to_grad, mtl_backward

import quickstudy as qs
from quickstudy.multitask import MultiGateMixture, SeparateNetworks, SharedBottom, named_tasks, shared_tasks
from quickstudy.networks import MLP, Inputs
from quickstudy.tasks import Gaussian
from quickstudy.training import Balanced, GradNorm, Sum, make_fabric

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(60, 3, generator=GENERATOR)
Y = {name: (X @ torch.randn(3, generator=GENERATOR)).numpy() for name in ("a", "b", "c")}
TASKS = shared_tasks(X.numpy(), Y)
BATCH = TASKS.train.draw(0, 16, 0)
SOLVERS = find_spec("quadprog") and find_spec("qpsolvers") and find_spec("cvxpy") and find_spec("ecos")
solved = partial(pytest.param, marks=pytest.mark.skipif(not SOLVERS, reason="needs the extra torchjd[full]"))
AGGREGATORS: dict[str, Callable[[], A.Aggregator]] = {
    "MGDA": A.MGDA,
    "PCGrad": A.PCGrad,
    "GradVac": A.GradVac,
    "IMTLG": A.IMTLG,
    "AlignedMTL": A.AlignedMTL,
    "FairGrad": lambda: A.FairGrad(1.0),
    "Random": A.Random,
    "Sum": A.Sum,
    "Mean": A.Mean,
    "Constant": lambda: A.Constant(torch.tensor([0.5, 2.0, 1.0])),
    "ExcessMTL": A.ExcessMTL,
    "ConFIG": A.ConFIG,
    "GradDrop": A.GradDrop,
    "UPGrad": A.UPGrad,
    "CAGrad": lambda: A.CAGrad(0.5),
    "NashMTL": lambda: A.NashMTL(3),
}
NEED_SOLVERS = ("UPGrad", "CAGrad", "NashMTL")
NAMES = [solved(name) if name in NEED_SOLVERS else name for name in AGGREGATORS]


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return make_fabric("cpu")


def bottom(tasks: Any = Y) -> SharedBottom:
    torch.manual_seed(0)
    return SharedBottom(MLP(3, (8, 6)), dict.fromkeys(tasks, Gaussian()))


def gradients(module: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in module.parameters()]


def rows(module: SharedBottom, batch: Any = BATCH) -> Tensor:
    """The gradients of all losses with respect to the trunk, one after another."""
    found = []
    for task in batch.y:
        parts = torch.autograd.grad(module(batch)[task], list(module.network.parameters()))
        found.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(found)


@pytest.mark.parametrize("name", NAMES)
def test_is_what_torchjd_does(name: str, fabric: Fabric) -> None:
    """Their mtl_backward on the same losses: aggregated where tasks share, each head its own gradient."""
    ours, theirs = bottom(), bottom()
    torch.manual_seed(5)
    Balanced(AGGREGATORS[name](), ours)(ours(BATCH), fabric)
    features = theirs.network(BATCH.x, torch.ones(1, 16, dtype=torch.bool))[0]
    layer, losses = theirs.heads.layers[0], []
    heads = [(layer.weight[t].detach().clone().requires_grad_(), layer.bias[t].detach().clone().requires_grad_())
             for t in range(3)]  # fmt: skip
    for (weight, bias), (_, one) in zip(heads, BATCH.items(), strict=True):
        prediction = Gaussian().distribution(features @ weight + bias)
        losses.append(-prediction.log_prob(one.y).mean())
    shared = list(theirs.network.parameters())
    mtl_backward(losses, features=features, tasks_params=heads, shared_params=shared)
    torch.manual_seed(5)
    jac_to_grad(shared, AGGREGATORS[name]())
    for mine, other in zip(ours.network.parameters(), shared, strict=True):
        assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-5)
    assert_close(ours.heads.layers[0].weight.grad, torch.stack([weight.grad for weight, _ in heads]))
    assert_close(ours.heads.layers[0].bias.grad, torch.stack([bias.grad for _, bias in heads]))


def test_two_tasks_by_mgda_in_closed_form(fabric: Fabric) -> None:
    """The shortest vector between two gradients: γ = clamp((g2 − g1)·g2 / |g1 − g2|²), γ g1 + (1 − γ) g2."""
    tasks = ("a", "b")
    module = bottom(tasks)
    batch = shared_tasks(X.numpy(), {task: Y[task] for task in tasks}).train.draw(0, 16, 0)
    first, second = rows(module, batch)
    share = (((second - first) @ second) / (first - second).square().sum()).clamp(0, 1)
    Balanced(A.MGDA(max_iters=1000), module)(module(batch), fabric)
    found = torch.cat([p.grad.flatten() for p in module.network.parameters()])
    assert_close(found, share * first + (1 - share) * second, rtol=1e-3, atol=1e-4)


def test_equal_angles_of_imtl_g(fabric: Fabric) -> None:
    module = bottom()
    jacobian = rows(module)
    Balanced(A.IMTLG(), module)(module(BATCH), fabric)
    found = torch.cat([p.grad.flatten() for p in module.network.parameters()])
    shadows = (jacobian / jacobian.norm(dim=1, keepdim=True)) @ found
    assert_close(shadows, shadows[:1].expand(3), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("at", ["parameters", "representation"])
def test_the_sum_is_the_sum(at: str, fabric: Fabric) -> None:
    plain, balanced = bottom(), bottom()
    Sum()(plain(BATCH), fabric)

    class Ones(GradNorm):
        def forward(self, losses: Tensor, norms: Tensor) -> Tensor:
            return torch.ones_like(losses)

    Balanced(Ones(), balanced, at=at)(balanced(BATCH), fabric)
    for mine, other in zip(gradients(balanced), gradients(plain), strict=True):
        assert_close(mine, other)


def test_at_the_representation_weights_are_of_gradients_there(fabric: Fabric) -> None:
    module = bottom()
    backward = Balanced(A.MGDA(), module, at="representation")
    losses = module(BATCH)
    features = module.representation.features
    jacobian = torch.stack(
        [torch.autograd.grad(loss, features, retain_graph=True)[0].flatten() for loss in losses.values()]
    )
    backward(losses, fabric)
    expected = A.MGDA().gramian_weighting(jacobian @ jacobian.T)
    assert_close(backward.weights, expected)
    found = torch.cat([p.grad.flatten() for p in module.network.parameters()])
    assert_close(found, expected @ rows(bottom()), rtol=1e-4, atol=1e-5)
    assert module.representation is None


def test_features_of_inputs_of_their_own_are_not_compared(fabric: Fabric) -> None:
    """Norms are, as GradNorm reads them; angles are not."""
    data = named_tasks({"a": (X, Y["a"]), "b": (X + 1, Y["b"])})
    module = bottom(("a", "b"))
    batch = data.train.sample(0, 8, 0)
    with pytest.raises(ValueError, match="inputs of their own"):
        Balanced(A.MGDA(), module, at="representation")(module(batch), fabric)
    Balanced(GradNorm(), module, at="representation")(module(batch), fabric)
    assert torch.isfinite(torch.cat([p.grad.flatten() for p in module.parameters()])).all()


def test_another_module_is_not_balanced() -> None:
    module, other = bottom(), bottom()
    with pytest.raises(ValueError, match="made for another SharedBottom than the one that is fitted"):
        qs.fit(module, TASKS.train, steps=1, batch_size=8, backward=Balanced(A.MGDA(), other))


def test_methods_that_look_at_no_gradient_take_any_inputs_at_the_representation(fabric: Fabric) -> None:
    data = named_tasks({"a": (X, Y["a"]), "b": (X + 1, Y["b"])})
    batch = data.train.sample(0, 8, 0)
    balanced, plain = bottom(("a", "b")), bottom(("a", "b"))
    Balanced(A.Sum(), balanced, at="representation")(balanced(batch), fabric)
    Sum()(plain(batch), fabric)
    for mine, other in zip(gradients(balanced), gradients(plain), strict=True):
        assert_close(mine, other)


@pytest.mark.parametrize(
    "method",
    [solved(lambda: A.CAGrad(0.4), id="CAGrad"), solved(A.UPGrad, id="UPGrad"), solved(A.DualProj, id="DualProj")],
)
def test_gradients_that_are_short_are_balanced_like_long_ones(method: Callable[[], Any], fabric: Fabric) -> None:
    """At the representation they are as short as batches are large; TorchJD takes short ones for none."""
    found = []
    for scale in (1.0, 1e-4):
        module = bottom()
        backward = Balanced(method(), module, at="representation")
        backward({task: scale * loss for task, loss in module(BATCH).items()}, fabric)
        found.append(torch.cat([p.grad.flatten() for p in module.network.parameters()]) / scale)
    assert float(found[0].norm()) > 0
    assert_close(found[1], found[0], rtol=1e-2, atol=1e-3 * float(found[0].abs().max()))


def test_an_absent_task_does_not_enter(fabric: Fabric) -> None:
    """MGDA with an absent task's row of zeros would not move at all."""
    masked = TASKS.train.draw(0, 16, 0)
    masked.mask["b"] = torch.zeros_like(masked.mask["b"])
    masked.count["b"] = torch.zeros(1)
    for method in (A.MGDA, A.IMTLG, A.ConFIG, lambda: S.STCH(0.5)):
        whole, pair = bottom(), bottom()
        Balanced(A.MGDA() if method is A.MGDA else method(), whole)(whole(masked), fabric)
        if isinstance(method(), S.Scalarizer):
            continue
        losses = whole(masked)
        Balanced(method(), pair)({task: losses_of for task, losses_of in pair(masked).items() if task != "b"}, fabric)
        for mine, other in zip(gradients(whole), gradients(pair), strict=True):
            assert_close(mine, other)
        assert losses["b"] == 0
    # A method with a memory keeps its last weights where a task is absent.
    module = bottom()
    backward = Balanced(A.GradVac(), module)
    backward(module(BATCH), fabric)
    before, memory = backward.weights.clone(), backward.method.gramian_weighting._phi_t.clone()
    backward(module(masked), fabric)
    assert_close(backward.weights, before)
    assert_close(backward.method.gramian_weighting._phi_t, memory)


def test_weights_are_kept_for_some_steps(fabric: Fabric) -> None:
    module, calls = bottom(), []
    method = A.MGDA()
    method.gramian_weighting.register_forward_hook(lambda *_: calls.append(1))
    backward = Balanced(method, module, every=3)
    for _ in range(7):
        backward(module(BATCH), fabric)
    assert len(calls) == 3
    found = torch.cat([p.grad.flatten() for p in module.network.parameters()])
    assert_close(found, backward.weights @ rows(module), rtol=1e-4, atol=1e-5)


def test_scalarizers_are_the_gradient_of_their_scalar(fabric: Fabric) -> None:
    for make in (lambda: S.STCH(0.5), S.GeometricMean, lambda: S.Constant(torch.tensor([1.0, 2.0, 3.0]))):
        ours, theirs = bottom(), bottom()
        Balanced(make(), ours)(ours(BATCH), fabric)
        make()(torch.stack(list(theirs(BATCH).values()))).backward()
        for mine, other in zip(ours.network.parameters(), theirs.network.parameters(), strict=True):
            assert_close(mine.grad, other.grad)


def test_uncertainty_learns_its_variances(fabric: Fabric) -> None:
    """With the losses held, exp(s_i) goes to L_i, where L/2 e^−s + s/2 is least."""
    module = bottom()
    backward = Balanced(S.UW(3), module, optimizer=partial(torch.optim.Adam, lr=0.1))
    for _ in range(300):
        losses = module(BATCH)
        backward(losses, fabric)
    assert_close(backward.method.log_var.exp(), torch.stack(list(losses.values())), rtol=1e-2, atol=1e-2)
    assert_close(backward.weights, 0.5 / torch.stack(list(losses.values())), rtol=1e-2, atol=1e-2)


def test_dwa_by_hand(fabric: Fabric) -> None:
    module = bottom()
    backward = Balanced(S.DWA(2.0), module, epoch=2)
    seen = []
    for step in range(5):
        losses = torch.stack(list(module(BATCH).values())) * torch.tensor([1.0, 0.5, 2.0]) ** step
        seen.append(losses.detach())
        backward(dict(zip("abc", losses, strict=True)), fabric)
    older, newer = (seen[0] + seen[1]) / 2, (seen[2] + seen[3]) / 2
    assert_close(backward.weights, 3 * (newer / older / 2).softmax(0))


def test_famo_sees_the_same_batch_after_the_step() -> None:
    """Against their loop, written out."""
    ours, theirs = bottom(), bottom()
    sgd = partial(torch.optim.SGD, lr=0.05)
    qs.fit(ours, TASKS.train, steps=4, batch_size=8, optimizer=sgd, device="cpu",
           backward=Balanced(famo := S.FAMO(3, lr=0.5), ours))  # fmt: skip
    other, optimizer = S.FAMO(3, lr=0.5), sgd(theirs.parameters())
    for step in range(4):
        batch = TASKS.train.sample(step, 8, 0)
        losses = torch.stack(list(theirs(batch).values()))
        optimizer.zero_grad()
        scalar = other(losses)
        shared, heads = list(theirs.network.parameters()), list(theirs.heads.parameters())
        for parameter, gradient in zip(shared, torch.autograd.grad(scalar, shared, retain_graph=True), strict=True):
            parameter.grad = gradient
        for parameter, gradient in zip(heads, torch.autograd.grad(losses.sum(), heads), strict=True):
            parameter.grad = gradient
        optimizer.step()
        with torch.no_grad():
            other.update(torch.stack(list(theirs(batch).values())))
    assert other._w.abs().max() > 0.1
    assert_close(famo._w, other._w, rtol=1e-3, atol=1e-4)
    for mine, parameter in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_close(mine, parameter)


def test_grad_norm_by_hand() -> None:
    method = GradNorm(alpha=0.5, rate=0.1)
    first, norms = torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0])
    assert_close(method(first, norms), torch.ones(2))
    # Both learn alike: the target is the mean norm, 1.5. Gradients of the weights are −1 and +2.
    raised = torch.tensor([1.1, 0.8])
    raised = raised * 2 / raised.sum()
    assert_close(method(first, norms), raised)
    # The second has halved, the first not moved: r is 4/3 and 2/3, so the first may have the larger norm.
    moved = method.value.clone()
    method(torch.tensor([1.0, 2.0]), norms)
    scaled = moved * norms
    error = scaled - scaled.mean() * torch.tensor([4 / 3, 2 / 3]).sqrt()
    expected = moved - 0.1 * norms * error.sign()
    assert_close(method.value, expected * 2 / expected.sum())


def test_grad_norm_evens_out_norms(fabric: Fabric) -> None:
    """One loss is a thousandfold the others; with α = 0 all gradients come to one norm."""
    module, factor = bottom(), torch.tensor([1000.0, 1.0, 1.0])
    backward = Balanced(GradNorm(alpha=0.0, rate=1e-4), module, every=1)
    for _ in range(3000):
        losses = torch.stack(list(module(BATCH).values())) * factor / 100
        backward(dict(zip("abc", losses, strict=True)), fabric)
    weighed = backward.weights * (rows(module) * factor[:, None] / 100).norm(dim=1)
    assert weighed[0] / weighed[1:].max() < 5
    assert backward.weights[0] < 0.05


METHODS: dict[str, Callable[[], tuple[Any, dict]]] = {
    "gradvac": lambda: (A.GradVac(), {}),
    "stale": lambda: (A.MGDA(), {"every": 4}),
    "pcgrad": lambda: (A.PCGrad(), {}),
    "excess": lambda: (A.ExcessMTL(), {}),
    "gradnorm": lambda: (GradNorm(), {"at": "representation"}),
    "uncertainty": lambda: (S.UW(3), {}),
    "dwa": lambda: (S.DWA(), {"epoch": 2}),
    "famo": lambda: (S.FAMO(3, lr=0.5), {}),
    "nash": lambda: (A.NashMTL(3), {}),
    "gramian": lambda: (A.GradVac(), {"gramian_only": True, "every": 2}),
}


@pytest.mark.parametrize("name", [solved(name) if name == "nash" else name for name in METHODS])
def test_a_resumed_run_is_the_run_that_was_not_stopped(name: str, tmp_path: Path) -> None:
    def run(folder: Path, stop: int | None = None) -> SharedBottom:
        module = bottom()
        method, options = METHODS[name]()
        backward = Balanced(method, module, **options)
        sampler, steps = TASKS.train, []

        class Stops(type(sampler)):  # type: ignore[misc]
            def sample(self, step: int, *arguments: Any, **more: Any) -> Any:
                steps.append(step)
                if step == stop:
                    raise KeyboardInterrupt
                return super().sample(step, *arguments, **more)

        try:
            qs.fit(
                module, Stops(sampler.name, sampler.x, sampler.y, sampler.mask), steps=13, batch_size=8, device="cpu",
                optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.9), backward=backward, folder=folder,
                resume=True, checkpoint_every=1,
            )  # fmt: skip
        except KeyboardInterrupt:
            assert stop is not None
        return module

    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", stop=7)
    for mine, other in zip(run(tmp_path / "parts").parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_gates_and_heads_are_their_tasks_own(fabric: Fabric) -> None:
    model = MultiGateMixture(Inputs(3), dict.fromkeys(Y, Gaussian()), 3, (8,))
    Balanced(A.MGDA(), model)(model(BATCH), fabric)
    expected = torch.autograd.grad(sum(model(BATCH).values()), model.own_parameters())
    for parameter, gradient in zip(model.own_parameters(), expected, strict=True):
        assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("gramian_only", [False, True])
@pytest.mark.unchecked
def test_works_with_a_compiled_forward(gramian_only: bool, fabric: Fabric) -> None:
    torch.compiler.reset()
    plain, module = bottom(), bottom()
    Balanced(A.MGDA(), plain)(plain(BATCH), fabric)
    backward = Balanced(A.MGDA(), module, gramian_only=gramian_only)
    compiled = torch.compile(module, fullgraph=True, dynamic=False, backend="aot_eager")
    backward(compiled(BATCH), fabric)
    for mine, other in zip(gradients(module), gradients(plain), strict=True):
        assert_close(mine, other)


@pytest.mark.parametrize("gramian_only", [False, True])
def test_mixed_precision(gramian_only: bool) -> None:
    module = bottom()
    history = qs.fit(
        module, TASKS.train, steps=30, batch_size=16, precision="bf16-mixed", device="cpu",
        optimizer=partial(torch.optim.Adam, lr=0.01), backward=Balanced(A.PCGrad(), module, gramian_only=gramian_only),
    )  # fmt: skip
    assert history.losses[-1][1] < history.losses[0][1]


@pytest.mark.unchecked
def test_loss_scaling_changes_nothing() -> None:
    """As float16 scales losses, and the optimizer takes it back."""

    class Scaled:
        """A Fabric whose precision scales losses."""

        world_size, device = 1, torch.device("cpu")
        strategy = type("S", (), {"precision": type("P", (), {"scaler": torch.amp.GradScaler("cpu", 2.0**10)})})

    plain, scaled = bottom(), bottom()
    for options in ({}, {"at": "representation"}, {"gramian_only": True}):
        Balanced(A.MGDA(), plain, **options)(plain(BATCH), make_fabric("cpu"))
        Balanced(A.MGDA(), scaled, **options)(scaled(BATCH), Scaled())
        for mine, other in zip(gradients(scaled), gradients(plain), strict=True):
            assert_close(mine / 2**10, other)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Balanced("mgda", bottom()), TypeError, "method must be an aggregator or a scalarizer of torchjd"),
        (lambda: Balanced(A.MGDA(), bottom(), every=0), ValueError, "every and epoch must be at least 1"),
        (lambda: Balanced(A.MGDA(), bottom(), at="heads"), ValueError, "at must be 'parameters' or"),
        (lambda: Balanced(S.DWA(), bottom()), ValueError, "epoch is the number of steps"),
        (lambda: Balanced(A.MGDA(), bottom(), epoch=3), ValueError, "which DWA needs and no other"),
        (lambda: Balanced(A.ConFIG(), bottom(), every=2), ValueError, "ConFIG gives no weights but a gradient"),
        (lambda: Balanced(A.ExcessMTL(), bottom(), at="representation"), ValueError, "ExcessMTL reads more"),
        (lambda: Balanced(A.ExcessMTL(), bottom(), gramian_only=True), ValueError, "ExcessMTL reads more"),
        (lambda: Balanced(A.GradDrop(), bottom(), gramian_only=True), ValueError, "GradDrop reads more"),
        (
            lambda: Balanced(A.MGDA(), bottom(), at="representation", gramian_only=True),
            ValueError,
            "at the representation no gradients of parameters are held",
        ),
        (lambda: Balanced(S.FAMO(3), bottom(), every=2), ValueError, "FAMO compares losses"),
        (
            lambda: Balanced(A.MGDA(), SeparateNetworks(MLP(3), dict.fromkeys(Y, Gaussian()))),
            ValueError,
            "the tasks of SeparateNetworks share nothing",
        ),
        (lambda: Balanced(A.MGDA(), nn.Linear(2, 2), at="representation"), ValueError, "keeps no shared represent"),
        (lambda: GradNorm(rate=0.0), ValueError, "rate must be positive"),
        (lambda: GradNorm()(torch.tensor([1.0, -1.0]), torch.ones(2)), ValueError, "must be positive, got"),
        (
            lambda: Balanced(A.MGDA(), bottom()).load_state_dict(Balanced(A.PCGrad(), bottom()).state_dict()),
            ValueError,
            "the state is of PCGrad, the method is MGDA",
        ),
    ],
)
@pytest.mark.unchecked
def test_bad_input_is_named(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("shared", [True, False])
def test_one_pass_through_the_heads_gives_the_gradients_of_a_pass_for_each(fabric: Fabric, shared: bool) -> None:
    """Inputs that tasks share, and inputs of their own: the update is that without kept features."""
    torch.manual_seed(0)
    x, y = torch.randn(30, 4), {name: torch.randn(30) for name in ("a", "b", "c")}
    data = shared_tasks(x, y) if shared else named_tasks({name: (x + len(name), y[name]) for name in y})
    module = SharedBottom(MLP(4, (5, 3)), dict.fromkeys(y, Gaussian()))
    batch, found = data.train.sample(0, 8, 0), []
    for keeps in (True, False):
        backward = Balanced(A.MGDA(), module)
        module.keeps_representation = keeps
        module.zero_grad()
        losses = module(batch)
        assert (module.representation is not None) == keeps
        backward(losses, fabric)
        assert module.representation is None
        found.append([parameter.grad.clone() for parameter in module.parameters()])
    for ours, plain in zip(*found, strict=True):
        assert_close(ours, plain)
