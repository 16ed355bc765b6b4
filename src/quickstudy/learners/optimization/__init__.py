"""Learners that adapt by optimization on the support: by gradient steps, or by a head that is solved to its optimum."""

from quickstudy.learners.optimization.cavia import CAVIA
from quickstudy.learners.optimization.gradient_learner import GradientLearner, InnerState
from quickstudy.learners.optimization.implicit_maml import ImplicitMAML
from quickstudy.learners.optimization.maml import ANIL, BOIL, MAML
from quickstudy.learners.optimization.maml_plus_plus import MAMLPlusPlus
from quickstudy.learners.optimization.meta_gradient import (
    EvolutionStrategies,
    Exact,
    FirstOrder,
    Implicit,
    MetaGradient,
    Truncated,
)
from quickstudy.learners.optimization.meta_sgd import MetaSGD
from quickstudy.learners.optimization.metaoptnet import MetaOptNet
from quickstudy.learners.optimization.r2d2 import R2D2
from quickstudy.learners.optimization.reptile import Reptile

__all__ = [
    "ANIL",
    "BOIL",
    "CAVIA",
    "MAML",
    "R2D2",
    "EvolutionStrategies",
    "Exact",
    "FirstOrder",
    "GradientLearner",
    "Implicit",
    "ImplicitMAML",
    "InnerState",
    "MAMLPlusPlus",
    "MetaGradient",
    "MetaOptNet",
    "MetaSGD",
    "Reptile",
    "Truncated",
]
