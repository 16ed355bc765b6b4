"""A training step with balanced gradients: `Balanced`, plain use of torchjd, and a loop that copies through the CPU.

A trunk of 128-256-256 and a linear head for each of 2, 8 and 40 regressions of the same 256 inputs. All make the
same update, which is checked first: torchjd as its documentation says (`mtl_backward`, then `jac_to_grad`); the loop in
the way of LibMTL, a backward pass for each task whose gradients are copied into a row of a matrix on the CPU. Both
begin from the losses of the same module as ours, and "by hand" from those of a network and a loss with no more in
them than this takes: no missing targets, no other likelihood, a module for each head. A step is forward, backward and
Adam. Peak memory is the most bytes of tensors alive.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from side_by_side import take_turns, write
from torch import Tensor, nn
from torchjd.aggregation import IMTLG, MGDA, AlignedMTL, CAGrad, PCGrad, UPGrad
from torchjd.autojac import jac_to_grad, mtl_backward

from quickstudy.evaluation import peak_memory
from quickstudy.multitask import SharedBottom, shared_tasks
from quickstudy.networks import MLP
from quickstudy.tasks import Gaussian
from quickstudy.training import Backward, Balanced, Sum, make_fabric

INPUTS, HIDDEN, BATCH = 128, (256, 256), 256
METHODS: dict[str, Callable[[], Any]] = {
    "MGDA": MGDA,
    "IMTL-G": IMTLG,
    "PCGrad": PCGrad,
    "Aligned-MTL": AlignedMTL,
    "UPGrad": UPGrad,
    "CAGrad": partial(CAGrad, 0.4),
}
OTHERS = ("torchjd", "loop", "torchjd by hand", "loop by hand")
DRAWING = ("PCGrad",)  # the order of projections is drawn, so that updates are not the same
GRAMIAN = ("MGDA", "UPGrad")  # what a step costs without the Jacobian depends little on the method


class Plain(nn.Module):
    """The same network as people write it: a trunk and a list of heads. It begins with the weights of ours."""

    def __init__(self, ours: SharedBottom) -> None:
        super().__init__()
        first, second = ours.network.layers
        self.trunk = nn.Sequential(nn.Linear(INPUTS, HIDDEN[0]), nn.ReLU(), nn.Linear(*HIDDEN), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(HIDDEN[-1], 1) for _ in ours.tasks)
        with torch.no_grad():
            for mine, theirs in ((self.trunk[0], first), (self.trunk[2], second)):
                mine.weight.copy_(theirs.weight)
                mine.bias.copy_(theirs.bias)
            for number, head in enumerate(self.heads):
                head.weight.copy_(ours.heads.layers[-1].weight[number].T)
                head.bias.copy_(ours.heads.layers[-1].bias[number])

    def forward(self, x: Tensor, targets: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        features = self.trunk(x)
        return features, [F.mse_loss(h(features)[:, 0], y) for h, y in zip(self.heads, targets, strict=True)]


def torchjd_backward(
    features: Tensor, losses: list[Tensor], shared: list[nn.Parameter], method: Any, retain: bool = False
) -> None:
    """As its documentation says; `retain` for losses that have more than features in common."""
    mtl_backward(losses, features=features, retain_graph=retain)
    jac_to_grad(shared, method)


def loop_backward(_: Tensor, losses: list[Tensor], shared: list[nn.Parameter], method: Any) -> None:
    """A pass for each task, its gradients copied into one matrix on the CPU."""
    matrix = torch.zeros(len(losses), sum(p.numel() for p in shared))
    for row, loss in enumerate(losses):
        for parameter in shared:
            parameter.grad = None
        loss.backward(retain_graph=True)
        begin = 0
        for parameter in shared:
            matrix[row, begin : begin + parameter.numel()] = parameter.grad.detach().cpu().flatten()
            begin += parameter.numel()
    combined = method(matrix)
    for parameter, part in zip(shared, combined.split([p.numel() for p in shared]), strict=True):
        parameter.grad = part.view_as(parameter).to(parameter.device).clone()


def measure(count: int, methods: dict[str, Callable[[], Any]], times: int, rounds: int) -> dict[str, Any]:
    """Milliseconds and MiB of a step with every method."""
    torch.manual_seed(0)
    x = torch.randn(4 * BATCH, INPUTS).numpy()
    truth = torch.randn(INPUTS, count).numpy() / INPUTS**0.5
    data = shared_tasks(x, {f"task{number}": (x @ truth)[:, number] for number in range(count)})
    batch = data.train.sample(0, BATCH, 0)
    inputs, targets = batch.x[0], [y[0] for y in batch.y.values()]
    fabric = make_fabric("cpu")

    def ours(backward: Callable[[nn.Module], Backward]) -> tuple[nn.Module, Callable[[], None]]:
        torch.manual_seed(1)
        module = SharedBottom(MLP(INPUTS, HIDDEN), {task: Gaussian() for task in batch.y})
        made = backward(module)
        return module, lambda: made(module(batch), fabric)

    def by_hand(backward: Callable[..., None], method: Any) -> tuple[nn.Module, Callable[[], None]]:
        model = Plain(ours(lambda _: Sum())[0])
        shared = list(model.trunk.parameters())
        return model, lambda: backward(*model(inputs, targets), shared, method)

    def same_module(backward: Callable[..., None], method: Any) -> tuple[nn.Module, Callable[[], None]]:
        module = ours(lambda _: Sum())[0]
        by_torchjd = backward is torchjd_backward
        module.keeps_representation = by_torchjd
        backward = partial(backward, retain=True) if by_torchjd else backward
        shared = module.shared_parameters()

        def step() -> None:
            losses = list(module(batch).values())
            features = module.representation.features if module.representation else None
            module.representation = None
            backward(features, losses, shared, method)

        return module, step

    made = {"plain sum": ours(lambda _: Sum())}
    for name, method in methods.items():
        made[f"{name}, ours"] = ours(lambda module, method=method: Balanced(method(), module))
        if name not in ("Aligned-MTL",):
            made[f"{name}, ours at the representation"] = ours(
                lambda module, method=method: Balanced(method(), module, at="representation")
            )
        if name in GRAMIAN:
            made[f"{name}, ours, Gramian only"] = ours(
                lambda module, method=method: Balanced(method(), module, gramian_only=True)
            )
        for other, backward in (("torchjd", torchjd_backward), ("loop", loop_backward)):
            made[f"{name}, {other}"] = same_module(backward, method())
            made[f"{name}, {other} by hand"] = by_hand(backward, method())
        if name not in DRAWING:
            check_same(made, name)
    seconds = take_turns({name: training(module, step, times) for name, (module, step) in made.items()}, rounds)
    found: dict[str, Any] = {}
    for name, (module, step) in made.items():
        module.zero_grad()
        memory = peak_memory(step) / 2**20
        found[f"{count} tasks, {name}"] = f"{1000 * seconds[name] / times:.2f} ms, {memory:.1f} MiB"
    for name in methods:
        mine = seconds[f"{name}, ours"]
        ratios = [f"{other} {seconds[f'{name}, {other}'] / mine:.2f}" for other in OTHERS]
        found[f"{count} tasks, {name}, times ours"] = ", ".join(ratios)
        if (at := f"{name}, ours at the representation") in seconds:
            found[f"{count} tasks, {name}, at the representation"] = (
                f"{seconds[at] / seconds['plain sum']:.1f} plain sums, torchjd takes "
                f"{seconds[f'{name}, torchjd'] / seconds[at]:.1f} times as long"
            )
    return found


def check_same(made: dict[str, tuple[nn.Module, Callable[[], None]]], name: str) -> None:
    """All put the same gradient into the first layer."""
    gradients = []
    for which in ("ours", *OTHERS, *(["ours, Gramian only"] if name in GRAMIAN else [])):
        module, step = made[f"{name}, {which}"]
        module.zero_grad()
        step()
        gradients.append(next(p for p in module.parameters() if p.shape == (HIDDEN[0], INPUTS)).grad.clone())
        module.zero_grad()
    for other in gradients[1:]:
        # The methods end where they are near enough: small differences of rounding become larger.
        torch.testing.assert_close(other, gradients[0], rtol=5e-2, atol=2e-3 * float(gradients[0].abs().max()))


def training(module: nn.Module, step: Callable[[], None], times: int) -> Callable[[], None]:
    """Some steps in a row, with a rate at which losses stay what they are."""
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-9)

    def run() -> None:
        for _ in range(times):
            optimizer.zero_grad()
            step()
            optimizer.step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two tasks, one method, one round; no card")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    times, rounds = (1, 1) if quick else (3, 15)
    metrics: dict[str, Any] = {}
    for count in (2,) if quick else (2, 8, 40):
        metrics |= measure(count, {"MGDA": MGDA} if quick else METHODS, times, rounds)
    protocol = {
        "data": "random regressions", "batch": BATCH, "network": "MLP 128-256-256, a linear head per task",
        "threads": 1, "precision": "float32",
    }  # fmt: skip
    write("balancing", "A step with balanced gradients beside torchjd and a loop", protocol, metrics, keep=not quick)


if __name__ == "__main__":
    main()
