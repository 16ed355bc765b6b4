"""A MAML training step on images: is it faster to loop over tasks, or to vectorise over them?

Omniglot, 5-way 1-shot, Conv4-64 with batch statistics (transductive, as MAML is usually scored), 1 and 15 queries of
each class, 1 and 5 inner steps. Beside ours, in the same run: a plain loop with clones of the weights, and `higher`;
compiled at one inner step (every further one is compiled anew, and takes minutes). In one step, in float64, their
meta-gradients agree. (After several steps in float32 they differ by more than rounding: an activation next to a kink,
or one of two that pooling finds equal, is decided by the last digit.)

Runs on the GPU where there is one, with 32 tasks.
"""

import argparse
import gc

import torch
import torch.nn.functional as F
from maml_contestants import LOOPS, Problem, check_same, meta_gradient_of, ours, training
from side_by_side import take_turns, write
from torch import Tensor, nn

from quickstudy.learners import MAML, FirstOrder
from quickstudy.networks import Conv4
from quickstudy.tasks import Categorical, TaskBatch, omniglot
from quickstudy.training import CompiledGradient

WAYS, SHOTS, RATE = 5, 1, 0.4
THEIRS = ("clones", "higher")


def maml(network: Conv4, inner_steps: int, tasks_at_once: int | None, first_order: bool = False) -> MAML:
    way = FirstOrder() if first_order else None
    return MAML(network, Categorical(WAYS), inner_steps, RATE, meta_gradient=way, tasks_at_once=tasks_at_once)


def plain(learner: MAML) -> nn.Sequential:
    """The same network from the parts that torch has, on the very weights of the learner."""
    network, parts = learner.network, []
    for convolution, normalization in zip(network.convolutions, network.normalizations, strict=True):
        batch_norm = nn.BatchNorm2d(network.filters, track_running_stats=False)
        batch_norm.weight, batch_norm.bias = normalization.scale, normalization.shift
        parts += [convolution, batch_norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*parts, nn.Flatten(), learner.predictor.head)


def measure(
    queries: int, inner_steps: int, tasks: int, filters: int, rounds: int, device: str, compile: bool
) -> dict[str, float]:
    """Milliseconds of a training step of each, and how often ours fits into the loop with clones."""
    batch = omniglot().episodes(WAYS, SHOTS, queries).train.sample(0, tasks, 0).to(device)

    def learner(tasks_at_once: int | None, first_order: bool = False) -> MAML:
        made = maml(Conv4(filters=filters, normalization="transductive"), inner_steps, tasks_at_once, first_order)
        made.load_state_dict(reference.state_dict())
        return made.to(device)

    reference = maml(Conv4(filters=filters, normalization="transductive"), inner_steps, None).to(device)
    module = plain(reference)
    problem = Problem(module, F.cross_entropy, batch, inner_steps, RATE)
    everything = {"looped": 1, "vectorised": tasks, "by default": None}
    for tasks_at_once in everything.values():
        one = maml(reference.network, 1, tasks_at_once).to(device)
        one.predictor = reference.predictor
        check_same(Problem(module, F.cross_entropy, batch[:4], 1, RATE), one, THEIRS)
    expected = flat(reference, batch)

    contestants = {name: training(lambda loop=LOOPS[name]: loop(problem), adam(module)) for name in THEIRS}
    for name, tasks_at_once in everything.items():
        made = learner(tasks_at_once)
        contestants[name] = training(lambda m=made: ours(m, batch), adam(made))
    made = learner(None, first_order=True)
    contestants["first order"] = training(lambda m=made: ours(m, batch), adam(made))
    if compile:
        # The forward only vectorised: compiling unrolls its loop, and takes as many times as long as there are tasks.
        made = learner(tasks)
        compiled = torch.compile(made, fullgraph=True, dynamic=False)
        if F.cosine_similarity(flat(compiled, batch), expected, 0) < 0.99:
            raise AssertionError("compiled, the meta-gradient points elsewhere")
        contestants["vectorised, compiled"] = training(lambda m=compiled: ours(m, batch), adam(made))
        made = learner(None)
        one_graph = CompiledGradient(made)  # it compares its gradient itself
        contestants["by default, compiled with its gradient"] = training(lambda m=one_graph: ours(m, batch), adam(made))

    seconds = take_turns(contestants, rounds)
    case = f"{queries} queries, {inner_steps} inner steps"
    metrics = {f"{case}, {name}, ms": round(1000 * value, 1) for name, value in seconds.items()}
    for name in seconds:
        if name not in (*THEIRS, "first order"):
            metrics[f"{case}, clones / {name}"] = round(seconds["clones"] / seconds[name], 2)
    return metrics


def flat(learner: nn.Module, batch: TaskBatch) -> Tensor:
    """The meta-gradient as one vector."""
    weights = list(learner.parameters())
    return torch.cat([part.flatten() for part in meta_gradient_of(lambda: ours(learner, batch), weights)])


def adam(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few tasks, filters and rounds; no card")
    parser.add_argument("--eager", action="store_true", help="leave out what is compiled; no card")
    arguments = parser.parse_args()
    quick, eager = arguments.quick, arguments.eager
    torch.set_num_threads(1 if quick else 2)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Fewer tasks where each has many images, or a step on two cores takes long.
    tasks = {1: 32, 15: 32} if device == "cuda" else {1: 16, 15: 8}
    cases = [(queries, inner_steps) for queries in (1, 15) for inner_steps in (1, 5)]
    filters, rounds = 64, 7
    if quick:
        tasks, cases, filters, rounds = {1: 2, 15: 2}, [(1, 1)], 8, 1
    metrics = {}
    for queries, inner_steps in cases:
        compiled = inner_steps == 1 and not eager
        metrics |= measure(queries, inner_steps, tasks[queries], filters, rounds, device, compiled)
        torch.compiler.reset()
        gc.collect()
    protocol = {
        "data": "omniglot", "split": "vinyals", "episode": f"{WAYS}-way {SHOTS}-shot",
        "tasks": {f"{queries} queries": count for queries, count in tasks.items()},
        "network": f"Conv4-{filters}", "normalization": "transductive", "threads": 2, "precision": "float32",
        "device": device,
    }  # fmt: skip
    claim = (
        f"A training step of MAML on images, {', '.join(f'{n} tasks of {q} queries a class' for q, n in tasks.items())}"
    )
    write(
        "maml-images" if device == "cpu" else "maml-images-cuda",
        claim,
        protocol,
        metrics,
        device,
        keep=not (quick or eager),
    )


if __name__ == "__main__":
    main()
