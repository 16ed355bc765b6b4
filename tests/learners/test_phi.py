from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from quickstudy.learners import concatenate, load_phi, save_phi, take


def test_names_may_hold_anything(tmp_path: Path) -> None:
    phi = {"weights": {"a.b/c": torch.randn(2, 3)}, "nothing": {}, "flat": torch.arange(2)}
    save_phi(phi, tmp_path / "phi")
    back = load_phi(tmp_path / "phi")
    assert torch.equal(back["weights"]["a.b/c"], phi["weights"]["a.b/c"])
    assert back["nothing"] == {}
    assert set(back) == set(phi)


def test_expanded_tensors_can_be_saved(tmp_path: Path) -> None:
    save_phi({"w": torch.randn(1, 3).expand(4, 3)}, tmp_path / "phi")
    assert load_phi(tmp_path / "phi")["w"].shape == (4, 3)


def test_take_and_concatenate() -> None:
    phi = {"a": torch.arange(4)}
    assert take(phi, 2)["a"].tolist() == [2]
    assert take(phi, torch.tensor([3, 0]))["a"].tolist() == [3, 0]
    assert concatenate([take(phi, slice(2, 4)), phi])["a"].tolist() == [2, 3, 0, 1, 2, 3]
    with pytest.raises(ValueError, match="phis is empty"):
        concatenate([])


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    save_file({"x": torch.ones(1)}, tmp_path / "other")
    with pytest.raises(ValueError, match="does not hold a φ"):
        load_phi(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="no φ at"):
        load_phi(tmp_path / "none")
