"""Every architecture against a plain loop over tasks and experts, and in its special cases."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.multitask import (
    CrossStitch,
    MultiGateMixture,
    NamedModule,
    Objective,
    ProgressiveExtraction,
    SeparateNetworks,
    SharedBottom,
    SoftSharing,
    TaskAttention,
    TaskConditioned,
    named_tasks,
    shared_tasks,
)
from quickstudy.networks import MLP, Inputs
from quickstudy.tasks import Bernoulli, Categorical, Gaussian

RNG = np.random.default_rng(1)
LIKELIHOODS = {"a": Gaussian(), "b": Categorical(3), "c": Bernoulli()}
ALIKE = dict.fromkeys("abc", Gaussian())
MAKE: dict[str, Callable[[dict], NamedModule]] = {
    "shared": lambda those: SharedBottom(MLP(4, (8,)), those, tower=(6,)),
    "separate": lambda those: SeparateNetworks(MLP(4, (8, 6), "layer"), those),
    "soft": lambda those: SoftSharing(MLP(4, (8, 6), "layer"), those),
    "concatenate": lambda those: TaskConditioned(MLP(4, (8,)), those, conditioning="concatenate", hidden=6),
    "multiply": lambda those: TaskConditioned(MLP(4, (8,)), those, conditioning="multiply", hidden=6),
    "film": lambda those: TaskConditioned(MLP(4, (8,)), those, hidden=6),
    "stitch": lambda those: CrossStitch(Inputs(4), those, (8, 6)),
    "attention": lambda those: TaskAttention(Inputs(4), those, (8, 6)),
    "mixture": lambda those: MultiGateMixture(Inputs(4), those, 4, (8, 6), (5,)),
    "progressive": lambda those: ProgressiveExtraction(Inputs(4), those, 2, 3, 2, (8, 6), (5,)),
}
CONDITIONED = ("concatenate", "multiply", "film")


def batches(alike: bool) -> dict[str, object]:
    x = RNG.normal(size=(40, 4))
    y = {"a": x[:, 0], "b": np.digitize(x[:, 1], [-0.5, 0.5]), "c": (x[:, 2] > 0).astype(float)}
    y = dict.fromkeys(y, x[:, 0]) if alike else y
    apart = {task: (RNG.normal(size=(40, 4)), those) for task, those in y.items()}
    return {
        "shared": shared_tasks(x, y).train.draw(0, 7, 0),
        "apart": named_tasks(apart).train.draw(0, 7, 0),
        "mixed": named_tasks(apart).mixed("stratified").train.draw(0, 12, 0),
    }


def linear(layer: object, copy: int, x: Tensor) -> Tensor:
    return x @ layer.weight[copy] + layer.bias[copy]  # type: ignore[attr-defined]


def head(model: NamedModule, task: int, x: Tensor) -> Tensor:
    layers = list(model.heads.layers)  # type: ignore[attr-defined, arg-type]
    for layer in layers[:-1]:
        x = F.relu(linear(layer, task, x))
    return linear(layers[-1], task, x)


def expert(experts: object, number: int, x: Tensor) -> Tensor:
    for layer in experts.layers:  # type: ignore[attr-defined]
        x = F.relu(linear(layer, number, x))
    return x


def plainly(name: str, model: NamedModule, x: Tensor, task: int) -> Tensor:
    """The outputs of one task for inputs `[n, 4]`, as the papers write it."""
    if name == "shared":
        return head(model, task, F.relu(model.network.layers[0](x)))
    if name in ("separate", "soft"):
        weights = dict(zip(model.names, (leaf[task] for leaf in model.weights), strict=True))
        for number in range(2):
            x = x @ weights[f"layers.{number}.weight"].T + weights[f"layers.{number}.bias"]
            scale, shift = (weights[f"normalizations.{number}.{part}"] for part in ("scale", "shift"))
            x = F.relu(F.layer_norm(x, x.shape[-1:], scale, shift))
        return head(model, task, x)
    if name in CONDITIONED:
        h, z = F.relu(model.network.layers[0](x)), torch.eye(3)[task]
        if name == "concatenate":
            h = F.relu(model.layer(torch.cat([h, z.expand(len(h), 3)], 1)))
        elif name == "multiply":
            h = F.relu(model.layer(h)) * 2 * torch.sigmoid(model.condition(z))
        else:
            scale, shift = model.condition(z).chunk(2)
            h = F.relu(model.layer(h) * (1 + scale) + shift)
        return head(model, 0, h)
    if name == "stitch":
        hidden = [x] * 3
        for number, layer in enumerate(model.layers):
            raw = [F.relu(linear(layer, net, h)) for net, h in enumerate(hidden)]
            hidden = [sum(model.alpha[number, i, j] * raw[j] for j in range(3)) for i in range(3)]
        return head(model, task, hidden[task])
    if name == "attention":
        shared, own = x, None
        for number in range(2):
            early = F.relu(model.first[number](shared))
            shared = F.relu(model.second[number](early))
            asked = early if own is None else torch.cat([early, own], 1)
            mask = torch.sigmoid(linear(model.attend[number], task, F.relu(linear(model.query[number], task, asked))))
            own = F.relu(model.onward[number](mask * shared))
        return head(model, task, own)
    if name == "mixture":
        share = linear(model.gates, task, x).softmax(-1)
        return head(model, task, sum(share[:, [k]] * expert(model.mixture, k, x) for k in range(4)))
    streams, common = [x] * 3, x
    for level in model.extraction:
        shared = [expert(level.shared_experts, k, common) for k in range(3)]
        own = [[expert(level.own_experts, 2 * t + k, streams[t]) for k in range(2)] for t in range(3)]
        gates = [linear(level.gates, t, streams[t]).softmax(-1) for t in range(3)]
        streams = [sum(gates[t][:, [k]] * said for k, said in enumerate([*own[t], *shared])) for t in range(3)]
        if level.shared_gate is not None:
            gate = level.shared_gate(common).softmax(-1)
            everyone = [said for those in own for said in those] + shared
            common = sum(gate[:, [k]] * said for k, said in enumerate(everyone))
    return head(model, task, streams[task])


@pytest.mark.parametrize("name", MAKE)
def test_is_the_plain_loop(name: str) -> None:
    torch.manual_seed(0)
    model = MAKE[name](ALIKE if name in CONDITIONED else LIKELIHOODS)
    x = torch.randn(3, 7, 4)
    mask = torch.ones(3, 7, dtype=torch.bool)
    apart = model.raw(x, mask, [0, 1, 2], [0, 1, 2])
    together = model.raw(x[:1], mask[:1], [0, 1, 2], [0, 0, 0])
    some = model.raw(x[:2], mask[:2], [2, 0], [0, 1])
    assert apart.shape == (3, 7, 1 if name in CONDITIONED else 3)
    for task in range(3):
        assert_close(apart[task], plainly(name, model, x[task], task))
        assert_close(together[task], plainly(name, model, x[0], task))
    assert_close(some[0], plainly(name, model, x[0], 2))
    assert_close(some[1], plainly(name, model, x[1], 0))


@pytest.mark.parametrize("form", ["shared", "apart", "mixed"])
@pytest.mark.parametrize("name", MAKE)
def test_losses_gradients_and_parameters(name: str, form: str) -> None:
    alike = name in CONDITIONED
    model, batch = MAKE[name](ALIKE if alike else LIKELIHOODS), batches(alike)[form]
    losses = model(batch)
    assert list(losses) == ["a", "b", "c"]
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    own, shared = model.own_parameters(), model.shared_parameters()
    assert len(own) + len(shared) == len(list(model.parameters()))
    assert bool(shared) == (name not in ("separate", "soft"))
    assert list(model({"b": batches(alike)["apart"]["b"]})) == ["b"]


@pytest.mark.parametrize("name", ["shared", "stitch", "attention", "mixture", "progressive", "separate", "soft"])
def test_own_parameters_serve_one_task(name: str) -> None:
    """The loss of a task moves only its part of what is declared to be of single tasks."""
    model = MAKE[name](LIKELIHOODS)
    loss = model(batches(False)["shared"])["b"]
    gradients = torch.autograd.grad(loss, model.own_parameters(), allow_unused=True, materialize_grads=True)
    for gradient in gradients:
        parts = gradient.unflatten(0, (3, -1))
        assert parts[1].any() or name in ("separate", "soft")
        assert not parts[[0, 2]].any()


@pytest.mark.parametrize("name", MAKE)
def test_saves_and_loads(name: str, tmp_path: object) -> None:
    alike = name in CONDITIONED
    model, batch = MAKE[name](ALIKE if alike else LIKELIHOODS), batches(alike)["shared"]
    qs.save(model, f"{tmp_path}/model")
    back = qs.load(f"{tmp_path}/model")
    for task, loss in back(batch).items():
        assert_close(loss, model(batch)[task])


@pytest.mark.unchecked
@pytest.mark.parametrize("name", MAKE)
def test_compiles_as_one_graph(name: str) -> None:
    alike = name in CONDITIONED
    model, batch = MAKE[name](ALIKE if alike else LIKELIHOODS), batches(alike)["shared"]
    torch.compiler.reset()  # forwards compiled by other tests count against the limit
    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend="aot_eager")
    for task, loss in compiled(batch).items():
        assert_close(loss, model(batch)[task])


def copied(target: nn.Module, source: nn.Module) -> None:
    for mine, other in zip(target.parameters(), source.parameters(), strict=True):
        mine.data.copy_(other.data.reshape(mine.shape) if mine.numel() == other.numel() else other.data)


def test_one_expert_is_a_shared_bottom() -> None:
    mixture = MultiGateMixture(Inputs(4), LIKELIHOODS, 1, (8,))
    bottom = SharedBottom(MLP(4, (8,)), LIKELIHOODS)
    bottom.network.layers[0].weight.data.copy_(mixture.mixture.layers[0].weight[0].T)
    bottom.network.layers[0].bias.data.copy_(mixture.mixture.layers[0].bias[0])
    copied(bottom.heads, mixture.heads)
    for form in ("shared", "apart"):
        batch = batches(False)[form]
        for task, loss in bottom(batch).items():
            assert_close(mixture(batch)[task], loss)


def test_extraction_without_experts_of_tasks_is_a_mixture() -> None:
    mixture = MultiGateMixture(Inputs(4), LIKELIHOODS, 3, (8,))
    progressive = ProgressiveExtraction(Inputs(4), LIKELIHOODS, 0, 3, 1, (8,))
    copied(progressive.extraction[0].shared_experts, mixture.mixture)
    copied(progressive.extraction[0].gates, mixture.gates)
    copied(progressive.heads, mixture.heads)
    batch = batches(False)["apart"]
    for task, loss in mixture(batch).items():
        assert_close(progressive(batch)[task], loss)


def test_stitches_that_take_nothing_of_others_are_separate_networks() -> None:
    stitch, separate = CrossStitch(Inputs(4), LIKELIHOODS, (8,), own=1.0), SeparateNetworks(MLP(4, (8,)), LIKELIHOODS)
    separate.weights[0].data.copy_(stitch.layers[0].weight.data.mT)
    separate.weights[1].data.copy_(stitch.layers[0].bias.data)
    copied(separate.heads, stitch.heads)
    batch = batches(False)["apart"]
    for task, loss in separate(batch).items():
        assert_close(stitch(batch)[task], loss)
    assert_close(CrossStitch(Inputs(4), LIKELIHOODS, (8,)).sharing[0], torch.full((3, 3), 0.05).fill_diagonal_(0.9))


def test_without_conditioning_tasks_are_ignored() -> None:
    model = TaskConditioned(MLP(4, (8,)), ALIKE, conditioning="none")
    x, mask = torch.randn(1, 7, 4), torch.ones(1, 7, dtype=torch.bool)
    raw = model.raw(x, mask, [0, 1, 2], [0, 0, 0])
    assert_close(raw, raw[:1].expand_as(raw))


def test_tasks_with_one_descriptor_are_one_task() -> None:
    z = {"a": [1.0, 0.5], "b": [1.0, 0.5], "c": [0.0, -1.0]}
    model = TaskConditioned(MLP(4, (8,)), ALIKE, z)
    raw = model.raw(torch.randn(1, 7, 4), torch.ones(1, 7, dtype=torch.bool), [0, 1, 2], [0, 0, 0])
    assert_close(raw[0], raw[1])
    assert not torch.allclose(raw[0], raw[2])


@pytest.mark.parametrize("name", ["mixture", "progressive"])
def test_gate_usage_is_the_mean_share(name: str) -> None:
    model, batch = MAKE[name](LIKELIHOODS), batches(False)["mixed"]
    usage = model.gate_usage(batch)
    for task, share in usage.items():
        assert share.shape == ((4,) if name == "mixture" else (5,))
        assert_close(share.sum(), torch.tensor(1.0))
        if name == "mixture":
            x = batch.x[0, batch.mask[task][0]]
            assert_close(share, linear(model.gates, "abc".index(task), x).softmax(-1).mean(0))


def test_expert_dropout() -> None:
    from quickstudy.multitask.experts import gated

    torch.manual_seed(0)
    logits = torch.randn(4000, 4)
    shares, whole = gated(logits, 0.5, True), gated(logits, 0.5, False)
    assert_close(whole, logits.softmax(-1))
    assert_close(shares.sum(-1), torch.ones(4000))
    # One time in sixteen all would be dropped, and none is.
    assert ((shares == 0).float().mean(0) - 0.5 * (1 - 1 / 8)).abs().max() < 0.03
    kept = shares > 0
    assert_close(shares, (whole * kept) / (whole * kept).sum(-1, keepdim=True))
    model = MultiGateMixture(Inputs(4), LIKELIHOODS, 4, dropout=0.5)
    batch = batches(False)["shared"]
    assert model(batch)["a"] != model(batch)["a"]
    model.eval()
    assert model(batch)["a"] == model(batch)["a"]


def test_separate_networks_start_differently() -> None:
    weights = SeparateNetworks(MLP(4, (8,)), LIKELIHOODS).weights[0]
    assert not torch.allclose(weights[0], weights[1])
    assert (weights.abs() <= 0.5).all()  # drawn as torch draws linear layers


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SeparateNetworks(MLP(4, (8,), "running"), ALIKE), "share no running statistics"),
        (lambda: TaskConditioned(MLP(4), LIKELIHOODS), "must have one likelihood; for others use SharedBottom"),
        (lambda: TaskConditioned(MLP(4), ALIKE, conditioning="add"), "conditioning must be one of none, concatenate"),
        (lambda: TaskConditioned(MLP(4), ALIKE, {"a": [1.0]}), "descriptors must name the tasks.*'b'"),
        (
            lambda: TaskConditioned(MLP(4), ALIKE, {"a": [1.0], "b": [1.0], "c": []}),
            "descriptors must be of one",
        ),
        (lambda: CrossStitch(Inputs(4), ALIKE, ()), "hidden must be positive widths of 1 or more"),
        (lambda: CrossStitch(Inputs(4), ALIKE, own=2.0), "own must be a share"),
        (lambda: MultiGateMixture(Inputs(4), ALIKE, 0), "experts must be at least 1"),
        (lambda: MultiGateMixture(Inputs(4), ALIKE, dropout=1.0), "dropout must be a probability below 1"),
        (lambda: ProgressiveExtraction(Inputs(4), ALIKE, shared=0), "shared and levels at least 1"),
        (lambda: TaskAttention(Inputs(4), {}), "likelihoods is empty"),
        (lambda: TaskAttention(Inputs(4), {"a": Objective(Gaussian()), "": Gaussian()}), "names a task ''"),
        (lambda: Inputs(0), "inputs must be at least 1"),
        (lambda: Inputs(3)(torch.zeros(1, 2, 4), torch.ones(1, 2, dtype=torch.bool)), "x must have 3 floating-point"),
    ],
)
@pytest.mark.unchecked
def test_bad_input_is_named(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
