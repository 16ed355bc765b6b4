"""Learners that adapt by optimization on the support: by gradient steps, or by a head that is solved to its optimum."""

from quickstudy.learners.optimization.maml import ANIL, BOIL, MAML
from quickstudy.learners.optimization.meta_sgd import MetaSGD
from quickstudy.learners.optimization.metaoptnet import MetaOptNet
from quickstudy.learners.optimization.r2d2 import R2D2
from quickstudy.learners.optimization.reptile import Reptile

__all__ = ["ANIL", "BOIL", "MAML", "R2D2", "MetaOptNet", "MetaSGD", "Reptile"]
