"""Digits: 1,797 handwritten digits of 8×8 pixels, carried by scikit-learn. No download.

Alpaydin & Kaynak, "Optical Recognition of Handwritten Digits", UCI repository 1998 (its test part).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from sklearn.datasets import load_digits

from quickstudy.tasks.datasets.mnist import DIGITS, named
from quickstudy.tasks.pool import ClassPool

__all__ = ["digits"]


def digits(*, parts: Mapping[str, Sequence[str]] = DIGITS) -> ClassPool:
    """The digits as a pool of ten classes, `[1, 8, 8]`, floats from 0 (ground) to 1; names are the digits.

    Args:
        parts: the digits of each split, as `part_classes` gives them; by default 0 … 5 to train on, 6 and 7 to choose
            by, 8 and 9 to be judged by (so two ways at most there).

    Raises:
        ValueError: `parts` is none of digits.
    """
    data = load_digits()
    images = torch.from_numpy(data.images).float()[:, None] / 16  # the originals count to 16
    protocol = {"data": "digits", "split": named(parts), "size": "8×8"}
    labels = np.asarray(data.target, dtype=np.int64)
    return ClassPool.from_labels(images, labels, [str(digit) for digit in range(10)], parts, protocol=protocol)
