import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import quickstudy as qs
from quickstudy.learners import MAML, PrototypicalNetwork
from quickstudy.networks import MLP, Conv4, PerExample
from quickstudy.rebuild import describe, rebuild
from quickstudy.tasks import Gaussian


def test_description_is_plain_json() -> None:
    learner = MAML(MLP(3, (4, 5)), Gaussian(variance=0.1), inner_steps=2)
    learner.inner_steps = 7  # a changed attribute is described as changed
    description = json.loads(json.dumps(describe(learner)))
    back = rebuild(description)
    assert back.inner_steps == 7
    assert back.likelihood.variance == 0.1
    assert back.network.hidden == (4, 5)
    assert describe(back) == describe(learner)


def test_saved_file_is_one_and_complete(tmp_path: Path) -> None:
    path = qs.save(PrototypicalNetwork(Conv4()), tmp_path / "run" / "learner")
    assert path == tmp_path / "run" / "learner.safetensors"
    assert list(path.parent.iterdir()) == [path]
    assert not qs.load(path).training


def test_your_own_class_after_registering_it(tmp_path: Path) -> None:
    class Squash(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.factor * x)

    learner = PrototypicalNetwork(PerExample(Squash(2.0), 3))
    with pytest.raises(TypeError, match="of class Squash: decorate the class with @quickstudy.register"):
        qs.save(learner, tmp_path / "a")
    qs.register(Squash)
    qs.save(learner, tmp_path / "a")
    assert qs.load(tmp_path / "a").network.module.factor == 2.0


def test_a_class_that_hides_its_arguments_is_named() -> None:
    @qs.register
    class Secretive(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.layer = nn.Linear(size, 1)

    with pytest.raises(TypeError, match="Secretive must keep its constructor's argument 'size' as an attribute"):
        describe(Secretive(3))


def test_names_are_unique() -> None:
    class MLP(nn.Module):
        pass

    with pytest.raises(ValueError, match=r"a class named 'MLP' is registered already, in quickstudy\.networks\.mlp"):
        qs.register(MLP)


def test_files_of_others_and_of_unknown_classes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no saved module at"):
        qs.load(tmp_path / "none")
    save_file({"x": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"was not written by quickstudy\.save of this version"):
        qs.load(tmp_path / "other")
    with pytest.raises(
        ValueError, match="no class 'PrototypicalNet' is registered; .* did you mean 'PrototypicalNetwork'"
    ):
        rebuild({"class": "PrototypicalNet", "arguments": {}})


def test_precision_is_kept(tmp_path: Path) -> None:
    module = MLP(3).double()
    qs.save(module, tmp_path / "m")
    back = qs.load(tmp_path / "m")
    for name, weight in module.state_dict().items():
        assert torch.equal(back.state_dict()[name], weight)
        assert back.state_dict()[name].dtype == torch.float64
    assert all(parameter.requires_grad for parameter in back.parameters())


def test_numbers_of_numpy_are_numbers() -> None:
    assert describe([np.int64(3), np.float32(0.5), np.bool_(True)]) == [3, 0.5, True]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = qs.save(MLP(3), tmp_path / "m")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"m\.safetensors is damaged, or no safetensors file"):
        qs.load(path)
