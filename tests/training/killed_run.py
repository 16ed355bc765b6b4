"""A run in a process of its own, to be killed: `python killed_run.py FOLDER STEPS [resume]`."""

import sys
from pathlib import Path

import torch

import quickstudy as qs
from quickstudy.learners import InContextTransformer
from quickstudy.networks import MLP
from quickstudy.tasks import Gaussian, sinusoids


def run(folder: Path | None, steps: int, resume: bool) -> InContextTransformer:
    torch.manual_seed(0)
    source = sinusoids(shots=5, queries=5)
    model = InContextTransformer(MLP(1, (16,)), Gaussian(), width=16, heads=2, layers=2, dropout=0.1)
    qs.fit(
        model,
        source.train,
        steps=steps,
        batch_size=4,
        folder=folder,
        resume=resume,
        device="cpu",
        checkpoint_every=7,
        validation=source.validation,
        validation_size=8,
        validate_every=11,
        schedule=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
    )
    return model


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    model = run(folder, int(sys.argv[2]), "resume" in sys.argv)
    qs.save(model, folder / "final")
