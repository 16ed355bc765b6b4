"""What a meta-gradient costs, and how far it is from the exact one, against the number of inner steps.

Omniglot, 5-way 1-shot, Conv4 with batch statistics (transductive), at its first weights. Memory is the most bytes of
tensors alive during a forward and backward pass (`quickstudy.evaluation.peak_memory`); on a GPU also what its allocator
says. Cosine and relative error are against the exact gradient through the same steps on the same tasks; of evolution
strategies they are means over draws, with the standard deviation beside.
"""

import argparse
from statistics import mean

import torch
from side_by_side import take_turns, write

from quickstudy.evaluation import meta_gradient, meta_gradient_error, peak_memory
from quickstudy.learners import MAML, EvolutionStrategies, Exact, FirstOrder, Implicit, MetaGradient, Truncated
from quickstudy.networks import Conv4
from quickstudy.tasks import Categorical, TaskBatch, omniglot

WAYS, SHOTS, QUERIES, RATE, PULL = 5, 1, 1, 0.1, 2.0
WAYS_OF_DIFFERENTIATING: dict[str, MetaGradient] = {
    "exact": Exact(),
    "exact, checkpoints": Exact(checkpoint=True),
    "last step only": Truncated(1),
    "first order": FirstOrder(),
    "implicit": Implicit(PULL),
    "evolution strategies": EvolutionStrategies(),
}


def allocated(learner: MAML, batch: TaskBatch) -> int:
    """The most bytes that the allocator of the GPU has lent at once, beyond those before."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    meta_gradient(learner, batch)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def measure(inner_steps: int, batch: TaskBatch, filters: int, rounds: int, draws: int) -> dict[str, dict[str, float]]:
    """Numbers of every way of differentiating, by what they are."""

    def learner(way: MetaGradient) -> MAML:
        torch.manual_seed(0)
        network = Conv4(filters=filters, normalization="transductive")
        return MAML(network, Categorical(WAYS), inner_steps, RATE, meta_gradient=way).to(batch.support.x.device)

    learners = {name: learner(way) for name, way in WAYS_OF_DIFFERENTIATING.items()}
    seconds = take_turns({name: lambda m=made: meta_gradient(m, batch) for name, made in learners.items()}, rounds)
    found = {}
    for name, made in learners.items():
        numbers = {"MiB": peak_memory(lambda m=made: meta_gradient(m, batch)) / 2**20}
        if batch.support.x.is_cuda:
            numbers["MiB allocated"] = allocated(made, batch) / 2**20
        numbers["ms"] = 1000 * seconds[name]
        if name != "exact":
            noisy = isinstance(made.meta_gradient, EvolutionStrategies)
            error = meta_gradient_error(made, batch, draws=draws if noisy else 1)
            for kind, values in (("cosine", error.cosine), ("relative error", error.relative)):
                numbers[kind] = mean(values.tolist())
                if noisy:
                    numbers[f"{kind}, deviation"] = values.std().item()
        found[name] = numbers
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few steps, tasks, filters and draws; no card")
    quick = parser.parse_args().quick
    torch.set_num_threads(1 if quick else 2)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    steps, tasks, filters, rounds, draws = ((1, 2), 2, 4, 1, 2) if quick else ((1, 2, 5, 10, 20), 4, 32, 3, 5)
    batch = omniglot().episodes(WAYS, SHOTS, QUERIES).train.sample(0, tasks, 0).to(device)
    found = [measure(inner_steps, batch, filters, rounds, draws) for inner_steps in steps]
    metrics = {
        f"{name}, {kind}": [float(f"{numbers[name][kind]:.3g}") for numbers in found]
        for name, kinds in found[0].items()
        for kind in kinds
    }
    evolution = WAYS_OF_DIFFERENTIATING["evolution strategies"]
    protocol = {
        "data": "omniglot", "split": "vinyals", "episode": f"{WAYS}-way {SHOTS}-shot, {QUERIES} query", "tasks": tasks,
        "network": f"Conv4-{filters}", "normalization": "transductive", "inner rate": RATE, "inner steps": list(steps),
        "pull": PULL, "iterations": WAYS_OF_DIFFERENTIATING["implicit"].iterations, "pairs": evolution.pairs,
        "deviation": evolution.deviation, "draws": draws, "threads": 2, "precision": "float32", "device": device,
    }  # fmt: skip
    claim = f"A meta-gradient through {', '.join(map(str, steps))} inner steps"
    name = "meta-gradient-memory" if device == "cpu" else "meta-gradient-memory-cuda"
    write(name, claim, protocol, metrics, device, keep=not quick)


if __name__ == "__main__":
    main()
