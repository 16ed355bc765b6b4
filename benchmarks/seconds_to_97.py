"""Seconds of training until a prototypical network is right 97% of the time, Omniglot, 5-way 1-shot, on two cores.

The number of steps was fixed beforehand; what is measured is how long they take and where they end, over three seeds.
Beside it, in the same run: the same steps without what makes them fast.
"""

import ctypes
import time

import torch
from side_by_side import write

import quickstudy as qs
from quickstudy.evaluation import summarize
from quickstudy.learners import PrototypicalNetwork
from quickstudy.networks import Conv4
from quickstudy.recipes import Training
from quickstudy.tasks import omniglot
from quickstudy.training import reuse_memory

STEPS, SEEDS = 900, (0, 1, 2)


def give_memory_back() -> None:
    """glibc's defaults, as they are without `reuse_memory`."""
    libc = ctypes.CDLL(None)
    libc.mallopt(-4, 65536)
    libc.mallopt(-1, 128 * 1024)


def main() -> None:
    torch.set_num_threads(2)
    pool = omniglot()
    test = pool.episodes(5, 1, 15).test

    def train(seed: int, steps: int, precision: str) -> tuple[PrototypicalNetwork, float]:
        torch.manual_seed(seed)
        learner = PrototypicalNetwork(Conv4(normalization="layer"))
        training = Training(pool.episodes(60, 1, 2).train, steps, 1, rate=4e-3, clip=None, precision=precision)
        start = time.perf_counter()
        qs.fit(learner, training.tasks, seed=seed, device="cpu", **training.arguments())
        return learner, time.perf_counter() - start

    reuse_memory()
    runs, seconds = [], []
    for seed in SEEDS:
        learner, taken = train(seed, STEPS, "bf16-mixed")
        seconds.append(taken)
        runs.append(qs.evaluate(learner, test, device="cpu"))
    per_step = {}
    for name, precision, reuse in (
        ("bfloat16, memory kept", "bf16-mixed", True),
        ("float32, memory kept", "32-true", True),
        ("float32, memory given back", "32-true", False),
    ):
        (reuse_memory if reuse else give_memory_back)()
        per_step[name] = train(0, 60, precision)[1] / 60
    accuracy = summarize(runs)["accuracy"]
    metrics = {
        "seconds": [round(value, 1) for value in seconds],
        "steps": STEPS,
        "accuracy": accuracy.to_json(),
        "accuracy of each seed": [round(float(run.values["accuracy"].mean()), 4) for run in runs],
        **{f"ms per step, {name}": round(1000 * value, 1) for name, value in per_step.items()},
    }
    protocol = {
        **pool.episodes(5, 1, 15).protocol,
        "test tasks": 600,
        "training": "60-way 1-shot, 2 queries, one episode a step",
        "normalization": "layer",
        "optimizer": "Adam, linear to 0.004, cosine to 0",
        "threads": 2,
        "seeds": list(SEEDS),
    }
    write("seconds-to-97", "Training on two cores, 5-way 1-shot Omniglot", protocol, metrics)


if __name__ == "__main__":
    main()
