import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from quickstudy.tasks import digits


def test_images_and_labels_are_those_of_scikit_learn() -> None:
    pool, data = digits(), load_digits()
    assert pool.examples.shape == (1797, 1, 8, 8)
    assert (pool.examples.min(), pool.examples.max()) == (0, 1)
    assert torch.equal(pool.examples[:, 0], torch.from_numpy(data.images).float() / 16)
    for digit in range(10):
        assert np.array_equal(pool.table[digit][pool.table[digit] >= 0], np.flatnonzero(data.target == digit))
    pool.episodes(2, 5, 15).test.draw(0, 3, 0).check_values()


def test_parts() -> None:
    assert digits().classes("train") == tuple("012345")
    assert digits().protocol["split"] == "train 0 1 2 3 4 5, validation 6 7, test 8 9"
    pool = digits(parts={"train": tuple("02468"), "validation": ("1",), "test": tuple("3579")})
    assert pool.classes("test") == tuple("3579")
    with pytest.raises(ValueError, match="'8' is in train and in test"):
        digits(parts={"train": ("8",), "validation": ("1",), "test": ("8",)})
