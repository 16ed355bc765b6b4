"""How a learner adapts: one file per method, families as folders."""

from quickstudy.learners.complete_pooling import CompletePooling
from quickstudy.learners.from_scratch import FromScratch
from quickstudy.learners.in_context import InContextTransformer
from quickstudy.learners.learner import Adapted, Learner
from quickstudy.learners.metric import (
    FullContextMatchingNetwork,
    MatchingNetwork,
    PrototypicalNetwork,
    RelationNetwork,
    SiameseNetwork,
)
from quickstudy.learners.nearest_neighbour import NearestNeighbour
from quickstudy.learners.optimization import ANIL, BOIL, MAML, R2D2, MetaOptNet, MetaSGD, Reptile
from quickstudy.learners.phi import Phi, concatenate, load_phi, save_phi, take
from quickstudy.learners.transfer import (
    Baseline,
    BaselinePlusPlus,
    FineTuning,
    FrozenFeatures,
    LinearSVM,
    LogisticRegression,
    Pretrained,
    RidgeRegression,
    SimpleShot,
)

__all__ = [
    "ANIL",
    "BOIL",
    "MAML",
    "R2D2",
    "Adapted",
    "Baseline",
    "BaselinePlusPlus",
    "CompletePooling",
    "FineTuning",
    "FromScratch",
    "FrozenFeatures",
    "FullContextMatchingNetwork",
    "InContextTransformer",
    "Learner",
    "LinearSVM",
    "LogisticRegression",
    "MatchingNetwork",
    "MetaOptNet",
    "MetaSGD",
    "NearestNeighbour",
    "Phi",
    "Pretrained",
    "PrototypicalNetwork",
    "RelationNetwork",
    "Reptile",
    "RidgeRegression",
    "SiameseNetwork",
    "SimpleShot",
    "concatenate",
    "load_phi",
    "save_phi",
    "take",
]
