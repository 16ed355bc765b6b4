"""Evaluation mode for a while, and back."""

import pytest
import torch
from torch import nn

from quickstudy.networks import MLP, evaluating


def modes(module: nn.Module) -> list[bool]:
    return [part.training for part in module.modules()]


@pytest.mark.parametrize("training", [True, False])
def test_everything_is_as_it_was(training: bool) -> None:
    module = nn.Sequential(MLP(2, (3,)), nn.Dropout(), nn.Sequential(nn.BatchNorm1d(3))).train(training)
    module[2].train(not training)
    before = modes(module)
    assert len(set(before)) == 2
    with evaluating(module) as same:
        assert same is module
        assert not any(modes(module))
    assert modes(module) == before


def test_also_when_something_is_raised() -> None:
    module = nn.Dropout()
    with pytest.raises(KeyError), evaluating(module):
        raise KeyError
    assert module.training


def test_it_is_where_it_is_asked_to_be() -> None:
    module, bare = nn.Linear(2, 2), nn.Dropout()
    # The device that holds no numbers stands for another one; from there nothing could be brought back.
    with torch.device("meta"):
        absent = nn.Linear(2, 2)
    with evaluating(absent, "meta") as there:
        assert there.weight.device.type == "meta"
    with evaluating(module, "cpu"), evaluating(bare, torch.device("cpu")):
        assert module.weight.device.type == "cpu"
    assert module.training
    assert bare.training
