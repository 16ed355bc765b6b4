"""A process killed without warning, at a random moment, and resumed is one that was never interrupted, to the bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from quickstudy.training import read_log

SCRIPT = Path(__file__).with_name("killed_run.py")
STEPS = 200


def start(folder: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, str(SCRIPT), str(folder), str(STEPS), *more], stderr=subprocess.DEVNULL)


def test_killed_and_resumed_is_never_interrupted(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(whole).wait(timeout=120) == 0
    lost = 0
    for attempt in range(3):
        process = start(cut, "resume")
        deadline = time.monotonic() + 60
        wanted = random.Random(attempt).randint(5, 60) + (len(read_log(cut / "log.jsonl")) if attempt else 0)
        while time.monotonic() < deadline and process.poll() is None:
            if (cut / "log.jsonl").exists() and len(read_log(cut / "log.jsonl")) >= wanted:
                break
            time.sleep(0.005)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            lost += 1
        process.wait()
        assert not (cut / "final.safetensors").exists() or process.returncode == 0
    assert lost >= 1, "the run was over before it could be killed"
    assert start(cut, "resume").wait(timeout=120) == 0

    expected, result = load_file(whole / "final.safetensors"), load_file(cut / "final.safetensors")
    assert expected.keys() == result.keys()
    assert all(torch.equal(expected[name], result[name]) for name in expected)
    timeless = lambda folder: [
        {k: v for k, v in line.items() if k != "seconds"} for line in read_log(folder / "log.jsonl")
    ]
    assert timeless(cut) == timeless(whole)
