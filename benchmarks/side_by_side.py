"""Measuring contestants side by side in one run: they take turns, and medians are compared."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quickstudy.reporting import machine, write_card

RESULTS = Path(__file__).parents[1] / "results"


def take_turns(contestants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of a call of each; every round lets everyone run once, after two rounds that do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 2):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if turn >= 2:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def write(name: str, claim: str, protocol: dict[str, Any], metrics: dict[str, Any]) -> None:
    """The card of a benchmark, in `results/`, and on the terminal."""
    card = {
        "benchmark": name,
        "claim": claim,
        "command": f"python benchmarks/{Path(sys.argv[0]).name}",
        "protocol": protocol,
        "machine": machine(),
        "metrics": metrics,
    }
    write_card(card, RESULTS / f"bench-{name}.json")
    for key, value in metrics.items():
        print(f"{name}: {key} = {value}")
