"""Measuring contestants side by side in one run: they take turns, and medians are compared."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from quickstudy.reporting import machine, write_card

RESULTS = Path(__file__).parents[1] / "results"


def take_turns(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of a call of each; every round lets everyone run once, after two rounds that do not count.

    What ran before decides what is in the caches. So every round begins with another, and every second goes backwards.
    A call ends when a GPU, where there is one, has done what it was told.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = [*contestants]
    for turn in range(rounds + 2):
        first, step = turn % len(names), 1 if turn % 2 else -1
        for place in range(len(names)):
            name = names[(first + step * place) % len(names)]
            run = contestants[name]
            start = time.perf_counter()
            run()
            finish()
            if turn >= 2:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def finish() -> None:
    """Wait for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def write(
    name: str, claim: str, protocol: dict[str, Any], metrics: dict[str, Any], device: str = "cpu", keep: bool = True
) -> None:
    """The card of a benchmark, in `results/` unless it is not to be kept, and on the terminal."""
    card = {
        "benchmark": name,
        "claim": claim,
        "command": f"python benchmarks/{Path(sys.argv[0]).name}",
        "protocol": protocol,
        "machine": machine(device),
        "metrics": metrics,
    }
    if keep:
        write_card(card, RESULTS / f"bench-{name}.json")
    for key, value in metrics.items():
        print(f"{name}: {key} = {value}")
