"""Parkinsons telemonitoring: 42 patients as 42 tasks, 5,875 recordings of voices in all.

Tsanas, Little, McSharry & Ramig, "Accurate telemonitoring of Parkinson's disease progression by noninvasive speech
tests", IEEE Transactions on Biomedical Engineering 2010; UCI repository 189, CC BY 4.0.
"""

import io
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from quickstudy.multitask.named import NamedTasks, named_tasks
from quickstudy.tasks.datasets.storage import given_file

__all__ = ["parkinsons"]

_FILE = "parkinsons_updrs.data"
_TARGETS = {"motor": "motor_UPDRS", "total": "total_UPDRS"}


def parkinsons(
    folder: Path | str | None = None,
    *,
    target: Literal["motor", "total"] = "motor",
    validation: float = 0.2,
    test: float = 0.2,
    seed: int = 0,
) -> NamedTasks:
    """A task for each patient, `patient1` … : from a recording to the score of the disease, in points of the UPDRS.

    Inputs are 19 numbers: age, sex, days since the start, and sixteen measures of the voice, each standardised over
    all patients (inputs only; what is held out of the targets is not looked at). Recordings are parted at random within
    each patient; those of one day are much alike, so that what is scored is interpolation in time.

    Args:
        folder: where `parkinsons_updrs.data` is; by default `parkinsons_telemonitoring` below `QUICKSTUDY_DATA`.
        target: which score, `motor` (0 to 108) or `total` (0 to 176).
        validation, test: shares of each patient's recordings that are held out.
        seed: draws which.

    Raises:
        FileNotFoundError: the file is not there.
        ValueError: it is damaged, or `target` is unknown.
    """
    if target not in _TARGETS:
        raise ValueError(f"target must be one of {', '.join(_TARGETS)}, got {target!r}")
    path = given_file(folder, "parkinsons_telemonitoring", _FILE, 189)
    try:
        table = pd.read_csv(io.BytesIO(path.read_bytes()))
        patients, scores = table.pop("subject#").to_numpy(), table[_TARGETS[target]].to_numpy(np.float64)
        inputs = table.drop(columns=list(_TARGETS.values())).to_numpy(np.float64)
    except (KeyError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise ValueError(f"{path} is not the table of Parkinsons telemonitoring: {error}") from error
    spread = inputs.std(0)
    inputs = (inputs - inputs.mean(0)) / np.where(spread > 0, spread, 1)
    rows = {f"patient{number}": patients == number for number in np.unique(patients)}
    data = {patient: (inputs[mine], scores[mine]) for patient, mine in rows.items()}
    return named_tasks(data, validation=validation, test=test, seed=seed)
