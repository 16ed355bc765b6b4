"""Learners that adapt by gradient steps on the support."""

from quickstudy.learners.optimization.maml import ANIL, BOIL, MAML
from quickstudy.learners.optimization.meta_sgd import MetaSGD
from quickstudy.learners.optimization.reptile import Reptile

__all__ = ["ANIL", "BOIL", "MAML", "MetaSGD", "Reptile"]
