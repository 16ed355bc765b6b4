import math
import signal
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.testing import assert_close

import quickstudy as qs
from quickstudy.learners import MAML, FromScratch, InContextTransformer, NearestNeighbour, PrototypicalNetwork
from quickstudy.multitask import SharedBottom, named_tasks
from quickstudy.networks import MLP
from quickstudy.tasks import Categorical, Gaussian, from_arrays, sinusoids
from quickstudy.training import Backward, Mean, NonFiniteLossError, Sum, fit, read_log

SOURCE = sinusoids(shots=5, queries=5)


def learner(seed: int = 0, dropout: float = 0.0) -> InContextTransformer:
    torch.manual_seed(seed)
    return InContextTransformer(MLP(1, (8,)), Gaussian(), width=8, heads=2, layers=1, dropout=dropout)


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def test_is_plain_descent_on_the_mean_over_tasks() -> None:
    """The loop adds nothing: the same steps written out by hand give the same weights to the bit."""
    ours, theirs = learner(), learner()
    fit(ours, SOURCE.train, steps=5, batch_size=4, seed=3, optimizer=partial(torch.optim.SGD, lr=0.1), device="cpu")
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for step in range(5):
        optimizer.zero_grad()
        theirs(SOURCE.train.sample(step, 4, 3)).mean().backward()
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(weights(ours), weights(theirs), strict=True))


def test_repeats_itself_and_leaves_the_global_generator_alone() -> None:
    results = []
    torch.manual_seed(99)
    for _ in range(2):
        model = learner(dropout=0.5)
        torch.manual_seed(99)
        fit(model, SOURCE.train, steps=3, batch_size=2, device="cpu")
        results.append(weights(model))
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(99)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_keeps_the_weights_that_were_best_on_validation() -> None:
    model, seen = learner(), []

    def score(module: nn.Module, batch: qs.TaskBatch) -> Tensor:
        """A score that is best at the third validation."""
        if batch.query.y[0, 0] == SOURCE.validation.draw(0, 1, 0).query.y[0, 0]:
            seen.append(weights(module))
        return torch.full((batch.tasks,), abs(len(seen) - 3.0))

    history = fit(
        model,
        SOURCE.train,
        steps=12,
        batch_size=4,
        validation=SOURCE.validation,
        validation_size=10,
        validate_every=2,
        score=score,
        device="cpu",
    )
    assert history.best_step == 6
    assert [step for step, _ in history.validation] == [2, 4, 6, 8, 10, 12]
    assert all(torch.equal(a, b) for a, b in zip(weights(model), seen[2], strict=True))
    assert not model.training


def test_stops_early() -> None:
    history = fit(
        learner(),
        SOURCE.train,
        steps=100,
        batch_size=2,
        validation=SOURCE.validation,
        validation_size=4,
        validate_every=5,
        score=lambda module, batch: torch.ones(batch.tasks),
        patience=3,
        device="cpu",
    )
    assert history.stopped_early
    assert history.steps == 20  # the first is the best; three more without improvement


def test_validation_is_the_mean_over_fixed_tasks() -> None:
    model = learner()
    history = fit(
        model,
        SOURCE.train,
        steps=1,
        batch_size=4,
        validation=SOURCE.validation,
        validation_size=10,
        optimizer=partial(torch.optim.SGD, lr=0.0),
        device="cpu",
    )
    with torch.no_grad():
        expected = model(SOURCE.validation.draw(0, 10, 0)).mean()
    assert_close(torch.tensor(history.validation[0][1]), expected)


class Explosive(nn.Module):
    """Its loss is not finite for one task of one step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.calls = 0

    def forward(self, batch: qs.TaskBatch) -> Tensor:
        self.calls += 1
        losses = self.weight * torch.ones(batch.tasks)
        if self.calls == 4:
            losses = losses + torch.tensor([0.0, 0.0, math.inf, math.nan])
        return losses


def test_a_loss_that_is_not_finite_names_step_task_and_seed(tmp_path: Path) -> None:
    module = Explosive()
    with pytest.raises(NonFiniteLossError, match="the loss is inf at step 3, task 14, seed 7") as caught:
        fit(
            module,
            SOURCE.train,
            steps=10,
            batch_size=4,
            seed=7,
            optimizer=partial(torch.optim.SGD, lr=0.1),
            device="cpu",
        )
    assert (caught.value.step, caught.value.task, caught.value.seed) == (3, 14, 7)
    assert_close(module.weight.item(), 0.7)  # three steps were made, not the fourth


def test_an_objective_that_is_not_finite_is_named() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, batch: qs.TaskBatch) -> dict[str, Tensor]:
            return {"clicks": self.weight * 1, "stars": self.weight * math.nan}

    with pytest.raises(NonFiniteLossError, match="the loss is nan at step 0, task stars, seed 0"):
        fit(Two(), SOURCE.train, steps=1, device="cpu")


def test_backward_can_be_replaced() -> None:
    calls = []

    def weighted(losses: Tensor, fabric: Fabric) -> None:
        calls.append(losses.shape)
        fabric.backward(3 * losses.mean())

    sgd = partial(torch.optim.SGD, lr=0.01)
    models = [learner() for _ in range(4)]
    fit(models[0], SOURCE.train, steps=1, batch_size=4, optimizer=sgd, backward=weighted, device="cpu")
    fit(models[1], SOURCE.train, steps=1, batch_size=4, optimizer=partial(torch.optim.SGD, lr=0.03), device="cpu")
    fit(models[2], SOURCE.train, steps=1, batch_size=4, optimizer=sgd, backward=Sum(), device="cpu")
    fit(
        models[3],
        SOURCE.train,
        steps=1,
        batch_size=4,
        optimizer=partial(torch.optim.SGD, lr=0.04),
        backward=Mean(),
        device="cpu",
    )
    assert calls == [(4,)]
    assert_close(weights(models[0]), weights(models[1]))
    assert_close(weights(models[2]), weights(models[3]))


def test_torchjd_plugs_in_as_backward() -> None:
    """Gradient balancing is theirs: MGDA over the tasks of a batch, in a few lines."""
    from torchjd.aggregation import MGDA
    from torchjd.autojac import backward, jac_to_grad

    class Balanced(Backward):
        def __init__(self, parameters: list[Tensor]) -> None:
            self.parameters, self.aggregator = parameters, MGDA()

        def __call__(self, losses: Tensor, fabric: Fabric) -> None:
            backward(list(losses), inputs=self.parameters)
            jac_to_grad(self.parameters, self.aggregator)

    balanced, plain = learner(), learner()
    sgd = partial(torch.optim.SGD, lr=0.05)
    before = plain(SOURCE.train.sample(0, 3, 0)).detach()
    fit(
        balanced,
        SOURCE.train,
        steps=1,
        batch_size=3,
        optimizer=sgd,
        device="cpu",
        backward=Balanced(list(balanced.parameters())),
    )
    fit(plain, SOURCE.train, steps=1, batch_size=3, optimizer=sgd, device="cpu")
    after = balanced(SOURCE.train.sample(0, 3, 0)).detach()
    assert (after < before).all()  # MGDA's promise for a small step: no task is made worse
    assert not torch.allclose(weights(balanced)[0], weights(plain)[0])


def test_clipping_and_schedule() -> None:
    clipped, rates = learner(), []
    before = weights(clipped)
    fit(
        clipped,
        SOURCE.train,
        steps=1,
        batch_size=4,
        clip=1e-3,
        optimizer=partial(torch.optim.SGD, lr=1.0),
        device="cpu",
    )
    moved = torch.cat([(a - b).flatten() for a, b in zip(weights(clipped), before, strict=True)]).norm()
    assert_close(moved, torch.tensor(1e-3), rtol=1e-3, atol=0.0)

    def schedule(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        rates.append(optimizer)
        return torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.1)

    fit(
        learner(),
        SOURCE.train,
        steps=4,
        batch_size=2,
        schedule=schedule,
        optimizer=partial(torch.optim.SGD, lr=1e-2),
        device="cpu",
    )
    assert_close(rates[0].param_groups[0]["lr"], 1e-4)


def test_autocast_never_casts_the_batch() -> None:
    class Probe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(1, 1)
            self.seen: list[torch.dtype] = []

        def forward(self, batch: qs.TaskBatch) -> Tensor:
            hidden = self.layer(batch.query.x)
            self.seen = [batch.query.y.dtype, hidden.dtype, self.layer.weight.dtype]
            return hidden.float().mean((1, 2))

    probe = Probe()
    fit(probe, SOURCE.train, steps=1, batch_size=2, precision="bf16-mixed", device="cpu")
    assert probe.seen == [torch.float32, torch.bfloat16, torch.float32]


def test_log_and_history_agree(tmp_path: Path) -> None:
    history = fit(
        learner(),
        SOURCE.train,
        steps=10,
        batch_size=2,
        validation=SOURCE.validation,
        validation_size=4,
        validate_every=5,
        folder=tmp_path,
        device="cpu",
    )
    lines = read_log(tmp_path / "log.jsonl")
    assert [(line["step"], line["loss"]) for line in lines if "loss" in line] == history.losses
    assert [(line["step"], line["validation"]) for line in lines if "validation" in line] == history.validation
    assert (tmp_path / "checkpoint.pt").exists()
    assert history.seconds > 0


def test_a_folder_with_a_run_is_not_overwritten(tmp_path: Path) -> None:
    arguments = {"steps": 4, "batch_size": 2, "folder": tmp_path, "device": "cpu"}
    fit(learner(), SOURCE.train, **arguments)
    with pytest.raises(FileExistsError, match="holds a run; resume it, or choose another folder"):
        fit(learner(), SOURCE.train, **arguments)
    with pytest.raises(ValueError, match="is of a run with .*'seed': 0.* this one has .*'seed': 1"):
        fit(learner(), SOURCE.train, **arguments, seed=1, resume=True)
    done = fit(learner(), SOURCE.train, **arguments, resume=True)
    assert done.steps == 4


def test_ctrl_c_ends_the_step_saves_and_goes_on_exactly(tmp_path: Path) -> None:
    arguments = {
        "steps": 60,
        "batch_size": 2,
        "device": "cpu",
        "validation": SOURCE.validation,
        "validation_size": 4,
        "validate_every": 7,
        "checkpoint_every": 1000,
    }
    whole = learner(dropout=0.2)
    expected = fit(whole, SOURCE.train, **arguments)

    class Slow(InContextTransformer):
        def forward(self, batch: qs.TaskBatch) -> Tensor:
            time.sleep(0.01)
            return super().forward(batch)

    torch.manual_seed(0)
    cut = Slow(MLP(1, (8,)), Gaussian(), width=8, heads=2, layers=1, dropout=0.2)
    before = signal.getsignal(signal.SIGINT)  # a shell without job control starts processes that ignore it
    threading.Timer(0.15, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt, match="stopped after [0-9]+ of 60 steps"):
        fit(cut, SOURCE.train, **arguments, folder=tmp_path)
    assert signal.getsignal(signal.SIGINT) is before
    resumed = learner(seed=5, dropout=0.2)  # other weights: all that counts is in the checkpoint
    history = fit(resumed, SOURCE.train, **arguments, folder=tmp_path, resume=True)
    assert history.validation == expected.validation
    assert history.losses == expected.losses
    assert history.best_step == expected.best_step
    assert all(torch.equal(a, b) for a, b in zip(weights(resumed), weights(whole), strict=True))


@pytest.mark.unchecked
def test_compiled_training_is_eager_training() -> None:
    eager, compiled = (MAML(MLP(1, (8,)), Gaussian(), 2) for _ in range(2))
    compiled.load_state_dict(eager.state_dict())
    for model, flag in ((eager, False), (compiled, True)):
        fit(
            model,
            SOURCE.train,
            steps=5,
            batch_size=4,
            compile=flag,
            optimizer=partial(torch.optim.SGD, lr=0.01),
            device="cpu",
        )
    assert_close(weights(compiled), weights(eager), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (NearestNeighbour(), {}, "NearestNeighbour has nothing to learn across tasks; evaluate it as it is"),
        (FromScratch(MLP(1), Gaussian()), {}, "FromScratch has nothing to learn across tasks"),
        (PrototypicalNetwork(MLP(1)), {"steps": 0}, "steps must be at least 1, got 0"),
        (PrototypicalNetwork(MLP(1)), {"batch_size": 0}, "batch_size must be a positive multiple"),
        (PrototypicalNetwork(MLP(1)), {"seed": -1}, "seed must not be negative"),
        (PrototypicalNetwork(MLP(1)), {"clip": 0.0}, "clip must be positive"),
        (PrototypicalNetwork(MLP(1)), {"patience": 0}, "patience must be at least 1, got 0"),
        (
            PrototypicalNetwork(MLP(1)),
            {"device": "gpu"},
            "device must be auto, cpu, cuda, cuda:NUMBER or mps, got 'gpu'",
        ),
        (PrototypicalNetwork(MLP(1)), {"precision": "bf16"}, "precision must be one of 32-true, .* got 'bf16'"),
        (MAML(MLP(1), Categorical(2)), {}, "classification needs int64 class numbers"),
    ],
)
@pytest.mark.unchecked
def test_bad_arguments(module: nn.Module, options: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        fit(module, SOURCE.train, **{"steps": 1, "device": "cpu", **options})


class Steep(nn.Module):
    """Its loss is 0, and the slope of that loss infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, batch: qs.TaskBatch) -> Tensor:
        return (self.weight.square().sqrt() + 0 * batch.query.y.sum()).expand(batch.tasks)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(clip: float | None, tmp_path: Path) -> None:
    module = Steep()
    with pytest.raises(NonFiniteLossError, match="the norm of the gradient is nan at step 0, .* seed 4; nothing of"):
        fit(module, SOURCE.train, steps=3, batch_size=2, seed=4, clip=clip, device="cpu", folder=tmp_path)
    assert module.weight.item() == 0


def test_a_validation_that_is_not_a_number_is_never_best() -> None:
    values = iter([math.nan, 0.5, math.nan, 0.1, 0.2])
    history = fit(
        learner(),
        SOURCE.train,
        steps=5,
        batch_size=2,
        validation=SOURCE.validation,
        validation_size=2,
        validate_every=1,
        score=lambda module, batch: torch.full((batch.tasks,), next(values)),
        device="cpu",
    )
    assert history.best_step == 4


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_validation_of_named_tasks_does_not_depend_on_the_batch(reduction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    data = {
        name: (torch.randn(n, 3, generator=generator).numpy(), torch.randn(n, generator=generator).numpy())
        for name, n in (("large", 300), ("small", 40))
    }
    tasks = named_tasks(data)
    model = SharedBottom(MLP(3, (8,)), {name: Gaussian() for name in data}, reduction)
    values = [
        fit(
            model,
            tasks.train,
            steps=1,
            batch_size=batch_size,
            validation=tasks.validation,
            validation_size=1000,
            optimizer=partial(torch.optim.SGD, lr=0.0),
            device="cpu",
        ).validation[0][1]
        for batch_size in (7, 32, 60)
    ]
    with torch.no_grad():
        whole = model(tasks.validation.draw(0, 60, 0))
    counts = {"large": 60, "small": 8}
    means = [float(whole[name]) / (1 if reduction == "mean" else counts[name]) for name in data]
    assert values == pytest.approx([sum(means) / 2] * 3, rel=1e-6)


def test_a_stop_in_the_last_step_is_not_swallowed(tmp_path: Path) -> None:
    class Stopped(InContextTransformer):
        def forward(self, batch: qs.TaskBatch) -> Tensor:
            signal.raise_signal(signal.SIGINT)
            return super().forward(batch)

    model = Stopped(MLP(1, (8,)), Gaussian(), width=8, heads=2, layers=1)
    with pytest.raises(KeyboardInterrupt):
        fit(model, SOURCE.train, steps=1, batch_size=2, device="cpu", folder=tmp_path)
    assert fit(learner(), SOURCE.train, steps=1, batch_size=2, device="cpu", folder=tmp_path, resume=True).steps == 1


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"half of it")
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged, or no checkpoint"):
        fit(learner(), SOURCE.train, steps=1, batch_size=2, device="cpu", folder=tmp_path, resume=True)


def test_uneven_tasks_compile_to_few_shapes() -> None:
    generator = np.random.default_rng(0)
    arrays = [(generator.normal(size=(n, 2)), generator.normal(size=n)) for n in generator.integers(2, 200, 60)]
    train = from_arrays(arrays, kind="regression").train
    shapes = {(b.support.mask.shape, b.query.mask.shape) for b in (train.sample(step, 1, 0) for step in range(100))}
    assert 1 < len(shapes) <= 4
