"""Two gloo processes make the update of one process with the whole batch, to rounding, whatever the normalization."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

BALANCED = ["mgda", "pcgrad", "gradvac", "imtl-g-representation", "graddrop"]
BALANCED += ["imtl-g-gramian", "gradvac-gramian"]
BALANCED += ["gradnorm", "gradnorm-representation", "uncertainty", "famo", "smooth-chebyshev", "random"]
SCRIPT = str(Path(__file__).with_name("two_processes.py"))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    folder = tmp_path_factory.mktemp("processes")
    subprocess.run([sys.executable, SCRIPT, str(folder / "one.pt")], check=True, timeout=200)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", SCRIPT]
    subprocess.run([*command, str(folder / "two.pt")], check=True, timeout=250)
    return torch.load(folder / "one.pt"), torch.load(folder / "two.pt")


CASES = ["support", "transductive", "running", "task", "layer"]
NAMES = [f"prototypical-{policy}" for policy in CASES] + ["sum", "reduces", "maml", "named"]
NAMES += [f"balanced-{name}" for name in BALANCED]


@pytest.mark.parametrize("name", NAMES)
def test_same_update(name: str, results: tuple[dict, dict]) -> None:
    one, two = (result[name] for result in results)
    # Fabric hands losses over in float32, and these methods weigh by their values, not by gradients alone.
    close = 1e-5 if name in ("balanced-famo", "balanced-smooth-chebyshev") else 1e-9
    for key, weight in one["weights"].items():
        assert_close(two["weights"][key], weight, rtol=close, atol=close / 100)
    assert_close(torch.tensor(two["loss"]), torch.tensor(one["loss"]))
    assert_close(torch.tensor(two["validation"]), torch.tensor(one["validation"]))
