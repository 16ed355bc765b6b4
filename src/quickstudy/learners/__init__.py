"""How a learner adapts: one file per method, families as folders."""

from quickstudy.learners.black_box import (
    SNAIL,
    AttentiveNeuralProcess,
    ConditionalNeuralProcess,
    MemoryAugmentedNetwork,
    RecurrentLearner,
)
from quickstudy.learners.complete_pooling import CompletePooling
from quickstudy.learners.decoder import DecoderTransformer
from quickstudy.learners.from_scratch import FromScratch
from quickstudy.learners.in_context import InContextTransformer
from quickstudy.learners.lasso import Lasso
from quickstudy.learners.learner import Adapted, Learner
from quickstudy.learners.metric import (
    FullContextMatchingNetwork,
    MatchingNetwork,
    PrototypicalNetwork,
    RelationNetwork,
    SiameseNetwork,
)
from quickstudy.learners.nearest_neighbour import NearestNeighbour
from quickstudy.learners.optimization import (
    ANIL,
    BOIL,
    CAVIA,
    MAML,
    R2D2,
    EvolutionStrategies,
    Exact,
    FirstOrder,
    GradientLearner,
    Implicit,
    ImplicitMAML,
    InnerState,
    MAMLPlusPlus,
    MetaGradient,
    MetaOptNet,
    MetaSGD,
    Reptile,
    Truncated,
)
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
from quickstudy.learners.trees import GradientBoosting, GreedyTree

__all__ = [
    "ANIL",
    "BOIL",
    "CAVIA",
    "MAML",
    "R2D2",
    "SNAIL",
    "Adapted",
    "AttentiveNeuralProcess",
    "Baseline",
    "BaselinePlusPlus",
    "CompletePooling",
    "ConditionalNeuralProcess",
    "DecoderTransformer",
    "EvolutionStrategies",
    "Exact",
    "FineTuning",
    "FirstOrder",
    "FromScratch",
    "FrozenFeatures",
    "FullContextMatchingNetwork",
    "GradientBoosting",
    "GradientLearner",
    "GreedyTree",
    "Implicit",
    "ImplicitMAML",
    "InContextTransformer",
    "InnerState",
    "Lasso",
    "Learner",
    "LinearSVM",
    "LogisticRegression",
    "MAMLPlusPlus",
    "MatchingNetwork",
    "MemoryAugmentedNetwork",
    "MetaGradient",
    "MetaOptNet",
    "MetaSGD",
    "NearestNeighbour",
    "Phi",
    "Pretrained",
    "PrototypicalNetwork",
    "RecurrentLearner",
    "RelationNetwork",
    "Reptile",
    "RidgeRegression",
    "SiameseNetwork",
    "SimpleShot",
    "Truncated",
    "concatenate",
    "load_phi",
    "save_phi",
    "take",
]
