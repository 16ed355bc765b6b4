"""A second-order MAML training step on sinusoids, beside those of other libraries and of a plain loop in the same run.

25 tasks, 10 shots, 10 queries, an MLP of 40 and 40, 1 and 5 inner steps (Finn et al., 2017). All make the same step:
the benchmark checks that their meta-gradients agree before it measures.
"""

import argparse

import torch
import torch.nn.functional as F
from maml_contestants import LOOPS, Problem, check_same, meta_gradient_of, ours, training
from side_by_side import take_turns, write
from torch import nn

from quickstudy.learners import MAML
from quickstudy.networks import MLP
from quickstudy.tasks import Gaussian, sinusoids
from quickstudy.training import CompiledGradient

SHOTS, RATE = 10, 0.01


def measure(inner_steps: int, tasks: int, times: int, rounds: int) -> dict[str, float]:
    """Milliseconds of a training step of each, and how often ours fits into theirs."""
    batch = sinusoids(SHOTS, SHOTS).train.sample(0, tasks, 0)
    learner = MAML(MLP(1, (40, 40)), Gaussian(), inner_steps, RATE)
    layers = learner.network.layers
    module = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), learner.predictor.head, nn.Flatten(0))
    problem = Problem(module, F.mse_loss, batch, inner_steps, RATE)
    check_same(problem, learner, list(LOOPS))
    compiled = torch.compile(learner, fullgraph=True, dynamic=False)
    weights = list(module.parameters())
    one_graph = CompiledGradient(learner)
    made = {"eager": learner, "compiled": compiled, "compiled with its gradient": one_graph}
    eager, *fast = (meta_gradient_of(lambda m=m: ours(m, batch), weights) for m in made.values())
    for found in fast:
        torch.testing.assert_close(found, eager, rtol=1e-3, atol=1e-5)
    steps = {name: lambda loop=loop: loop(problem) for name, loop in LOOPS.items()}
    steps |= {name: lambda m=m: ours(m, batch) for name, m in made.items()}
    optimizer = torch.optim.Adam(weights, lr=1e-3, fused=True)
    seconds = take_turns({name: training(step, optimizer, times) for name, step in steps.items()}, rounds)
    metrics = {f"{inner_steps} inner steps, {name}, ms": round(1000 * s / times, 2) for name, s in seconds.items()}
    for theirs in ("higher", "torchopt", "clones"):
        for name in made:
            metrics[f"{inner_steps} inner steps, {theirs} / {name}"] = round(seconds[theirs] / seconds[name], 1)
    return metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few tasks and rounds; no card")
    quick = parser.parse_args().quick
    torch.set_num_threads(1 if quick else 2)
    torch.manual_seed(0)
    # Ten steps in a row, as in training, before it is another's turn.
    tasks, times, rounds = (3, 1, 1) if quick else (25, 10, 15)
    metrics = {}
    for inner_steps in (1, 5):
        metrics |= measure(inner_steps, tasks, times, rounds)
    protocol = {
        "data": "sinusoids", "tasks": tasks, "shots": SHOTS, "queries": SHOTS, "network": "MLP 40-40", "threads": 2,
        "precision": "float32",
    }  # fmt: skip
    claim = "A training step of MAML, vectorised over tasks, beside loops over tasks"
    write("maml-step", claim, protocol, metrics, keep=not quick)


if __name__ == "__main__":
    main()
