import gzip
from pathlib import Path

import numpy as np
import pytest

from quickstudy.tasks.datasets.pmlb import pmlb
from quickstudy.tasks.datasets.storage import given_folder


def write(folder: Path, name: str, text: str) -> None:
    with gzip.open(folder / f"{name}.tsv.gz", "wt") as file:
        file.write(text)


def test_reads_the_tables_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path, "second", "a\ttarget\tb\n1\t3\t0.5\n\t7\t1.5\n")
    write(tmp_path, "first", "a\ttarget\n1\t0\n2\t0\n")
    tables = pmlb(tmp_path)
    assert list(tables) == ["first", "second"]
    x, y = tables["second"]
    np.testing.assert_array_equal(x, [[1, 0.5], [np.nan, 1.5]])
    np.testing.assert_array_equal(y, [0, 1])  # numbered from 0, whatever they were


def test_the_real_tables() -> None:
    if given_folder("pmlb") is None:
        pytest.skip("QUICKSTUDY_DATA has no folder pmlb; the test above reads tables of the same form")
    tables = pmlb()
    x, y = tables["wine_recognition"]
    assert x.shape == (178, 13)
    assert np.bincount(y).tolist() == [59, 71, 48]


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="has no tables"):
        pmlb(tmp_path)
    monkeypatch.delenv("QUICKSTUDY_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="QUICKSTUDY_DATA has no folder pmlb"):
        pmlb()
    write(tmp_path, "words", "a\ttarget\nyes\t1\n")
    with pytest.raises(ValueError, match=r"words.tsv.gz cannot be read as a table of numbers"):
        pmlb(tmp_path)
    write(tmp_path, "words", "a\tb\n1\t1\n")
    with pytest.raises(ValueError, match=r"words.tsv.gz must have a column 'target'"):
        pmlb(tmp_path)
    write(tmp_path, "words", "a\ttarget\n1\t\n")
    with pytest.raises(ValueError, match=r"words.tsv.gz has a target that is missing"):
        pmlb(tmp_path)
    (tmp_path / "words.tsv.gz").write_bytes(b"no gzip")
    with pytest.raises(ValueError, match=r"words.tsv.gz cannot be read"):
        pmlb(tmp_path)
