"""The one training loop, and what plugs into it."""

from quickstudy.training.backward import Backward, Losses, Mean, Sum
from quickstudy.training.balancing import Balanced, LossWeighting
from quickstudy.training.compiled_gradient import CompiledGradient
from quickstudy.training.errors import NonFiniteLossError
from quickstudy.training.fabric import Precision, make_fabric
from quickstudy.training.fit import fit
from quickstudy.training.grad_norm import GradNorm
from quickstudy.training.history import History
from quickstudy.training.log import read_log
from quickstudy.training.memory import reuse_memory
from quickstudy.training.validation import Score

__all__ = [
    "Backward",
    "Balanced",
    "CompiledGradient",
    "GradNorm",
    "History",
    "LossWeighting",
    "Losses",
    "Mean",
    "NonFiniteLossError",
    "Precision",
    "Score",
    "Sum",
    "fit",
    "make_fabric",
    "read_log",
    "reuse_memory",
]
