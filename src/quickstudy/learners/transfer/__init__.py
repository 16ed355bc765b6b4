"""Plain transfer: one network for all training classes, then a new head for every task."""

from quickstudy.learners.transfer.baseline import Baseline, BaselinePlusPlus
from quickstudy.learners.transfer.fine_tuning import FineTuning
from quickstudy.learners.transfer.linear_svm import LinearSVM
from quickstudy.learners.transfer.logistic import LogisticRegression
from quickstudy.learners.transfer.pretrained import FrozenFeatures, Pretrained
from quickstudy.learners.transfer.ridge import RidgeRegression
from quickstudy.learners.transfer.simple_shot import SimpleShot

__all__ = [
    "Baseline",
    "BaselinePlusPlus",
    "FineTuning",
    "FrozenFeatures",
    "LinearSVM",
    "LogisticRegression",
    "Pretrained",
    "RidgeRegression",
    "SimpleShot",
]
