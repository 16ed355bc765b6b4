"""What every public entry promises: a result that is whole, or an error of ours that names what is wrong."""

import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, settings
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, MixtureSameFamily, Normal

import quickstudy
from quickstudy.training import NonFiniteLossError

HOME = Path(quickstudy.__file__).parent
NAMED = (ValueError, TypeError, NotImplementedError, OSError, NonFiniteLossError)


def modest(examples: int) -> Callable[[Callable], Callable]:
    """Settings of a property: the same examples every time, as a test that fails now and then helps nobody."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def kept(call: Callable[[], Any], names: str = r"\w+") -> Any:
    """The result of `call`, or None when it raised an error as promised.

    Args:
        call: a call of a public entry.
        names: a regular expression of what an error may name.

    Raises:
        AssertionError: the error is of another type, was raised outside the library, or names nothing.
    """
    try:
        return call()
    except NAMED as error:
        origin = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        said = str(error)
        assert origin.is_relative_to(HOME), f"{type(error).__name__} from {origin}: {said}"
        assert said, f"{type(error).__name__} says nothing"
        assert re.search(names, said), f"{type(error).__name__} names none of {names}: {said}"
        # What Python itself says of an operation is no message of ours.
        assert not re.match(
            r"('\w+' object|unsupported operand|'[<>=]+' not supported|bad operand|object of type)", said
        )
        return None


def refused(call: Callable[[], Any], names: str = r"\w+") -> None:
    """As `kept`, and it must raise."""
    assert kept(lambda: (call(),), names) is None, "nothing was refused"


def well_formed(prediction: Distribution, mask: Tensor, classes: Tensor | None = None) -> None:
    """A predictive distribution `[task, n]` whose real entries mean something."""
    assert prediction.batch_shape == mask.shape
    if isinstance(prediction, Categorical):
        probs = prediction.probs[mask]
        assert torch.isfinite(probs).all()
        assert ((probs >= 0) & (probs <= 1)).all()
        assert torch.allclose(probs.sum(-1), torch.ones(len(probs), dtype=probs.dtype), atol=1e-4)
        if classes is not None:
            absent = ~classes[:, None].expand(-1, mask.shape[1], -1)[mask]
            assert (probs[:, : classes.shape[1]][absent] == 0).all()
            assert (probs[:, classes.shape[1] :] == 0).all()
    elif isinstance(prediction, Bernoulli):
        probs = prediction.probs[mask]
        assert ((probs >= 0) & (probs <= 1)).all()
    else:
        assert isinstance(prediction, Normal | MixtureSameFamily)
        assert torch.isfinite(prediction.mean[mask]).all()
        assert (prediction.stddev[mask] > 0).all()
