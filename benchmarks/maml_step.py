"""A second-order MAML training step on sinusoids, against `higher` in the same run.

25 tasks, 10 shots, 10 queries, an MLP of 40 and 40, 1 and 5 inner steps (Finn et al., 2017). Both make the same step:
the benchmark checks that their meta-gradients agree before it measures.
"""

import higher
import torch
import torch.nn.functional as F
from side_by_side import take_turns, write
from torch import nn

from quickstudy.learners import MAML
from quickstudy.networks import MLP
from quickstudy.tasks import Gaussian, TaskBatch, sinusoids

TASKS, SHOTS, RATE = 25, 10, 0.01
STEPS = 10  # in a row, as in training, before it is another's turn


def theirs(module: nn.Module, optimizer: torch.optim.Optimizer, batch: TaskBatch, inner_steps: int) -> None:
    """The step as the documentation of `higher` has it: a loop over tasks, gradients accumulated."""
    optimizer.zero_grad()
    inner = torch.optim.SGD(module.parameters(), lr=RATE)
    for task in range(TASKS):
        x, y = batch.support.x[task], batch.support.y[task]
        with higher.innerloop_ctx(module, inner, copy_initial_weights=False) as (fast, fast_optimizer):
            for _ in range(inner_steps):
                fast_optimizer.step(F.mse_loss(fast(x)[:, 0], y))
            loss = F.mse_loss(fast(batch.query.x[task])[:, 0], batch.query.y[task]) / TASKS
            loss.backward()
    optimizer.step()


def ours(learner: nn.Module, optimizer: torch.optim.Optimizer, batch: TaskBatch) -> None:
    optimizer.zero_grad()
    learner(batch).mean().backward()
    optimizer.step()


def main() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    batch = sinusoids(SHOTS, SHOTS).train.sample(0, TASKS, 0)
    metrics = {}
    for inner_steps in (1, 5):
        learner = MAML(MLP(1, (40, 40)), Gaussian(), inner_steps, RATE)
        layers = learner.network.layers
        module = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), learner.predictor.head)
        still = torch.optim.SGD(module.parameters(), lr=0.0)
        theirs(module, still, batch, inner_steps)
        expected = [parameter.grad.clone() for parameter in module.parameters()]
        still.zero_grad()
        compiled = torch.compile(learner, fullgraph=True, dynamic=False)
        for candidate in (learner, compiled):
            gradients = torch.autograd.grad(candidate(batch).mean(), list(module.parameters()))
            torch.testing.assert_close(list(gradients), expected, rtol=1e-3, atol=1e-5)
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
        seconds = take_turns(
            {
                "higher": lambda s=inner_steps, m=module, o=optimizer: [theirs(m, o, batch, s) for _ in range(STEPS)],
                "eager": lambda m=learner, o=optimizer: [ours(m, o, batch) for _ in range(STEPS)],
                "compiled": lambda m=compiled, o=optimizer: [ours(m, o, batch) for _ in range(STEPS)],
            },
            rounds=15,
        )
        for name, value in seconds.items():
            metrics[f"{inner_steps} inner steps, {name}, ms"] = round(1000 * value / STEPS, 2)
        for name in ("eager", "compiled"):
            metrics[f"{inner_steps} inner steps, higher / {name}"] = round(seconds["higher"] / seconds[name], 1)
    protocol = {
        "data": "sinusoids", "tasks": TASKS, "shots": SHOTS, "queries": SHOTS, "network": "MLP 40-40", "threads": 2,
        "precision": "float32",
    }  # fmt: skip
    write("maml-step", "A training step of MAML, vectorised over tasks, against `higher`", protocol, metrics)


if __name__ == "__main__":
    main()
