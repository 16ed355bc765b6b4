import pytest
import torch

import quickstudy as qs
from quickstudy.learners import DecoderTransformer, InContextTransformer
from quickstudy.networks import Inputs
from quickstudy.tasks import Examples, Gaussian


def test_inputs_pass_as_they_are() -> None:
    x, mask = torch.randn(2, 5, 2, 3), torch.ones(2, 5, dtype=torch.bool)
    features, kept = Inputs(6)(x, mask)
    assert torch.equal(features, x.flatten(2))
    assert kept == {}


def test_a_learner_of_them_survives_saving(tmp_path: object) -> None:
    model = DecoderTransformer(Inputs(3), Gaussian(), width=8, layers=1, heads=2)
    qs.save(model, tmp_path / "model")
    assert qs.load(tmp_path / "model").network.inputs == 3


@pytest.mark.unchecked
@pytest.mark.parametrize("cls", [DecoderTransformer, InContextTransformer])
def test_another_precision_is_refused_by_who_reads_them(cls: type) -> None:
    model = cls(Inputs(3), Gaussian(), width=8, layers=1, heads=2)
    with pytest.raises(TypeError, match="x is torch.float64, but the weights of Linear are torch.float32"):
        model.adapt(Examples.of(torch.zeros(2, 5, 3).double(), torch.zeros(2, 5)))


@pytest.mark.unchecked  # inputs of another form
def test_bad_arguments() -> None:
    mask = torch.ones(2, 5, dtype=torch.bool)
    with pytest.raises(ValueError, match="inputs must be at least 1, got 0"):
        Inputs(0)
    with pytest.raises(ValueError, match="x must have 3 floating-point numbers per example, got torch.float32"):
        Inputs(3)(torch.zeros(2, 5, 4), mask)
    with pytest.raises(TypeError, match="x must be one tensor for Inputs, got dict"):
        Inputs(3)({"a": torch.zeros(2, 5, 3)}, mask)
