"""What a task is, and where tasks come from."""

from quickstudy.tasks.all_classes import AllClasses
from quickstudy.tasks.augmentation import Augmented, augmented
from quickstudy.tasks.batch import Examples, TaskBatch, Tree, pad
from quickstudy.tasks.binned import Binned, Histogram
from quickstudy.tasks.collection import Collection, from_arrays
from quickstudy.tasks.datasets.cifar_fs import cifar_fs
from quickstudy.tasks.datasets.cub import cub
from quickstudy.tasks.datasets.digits import digits
from quickstudy.tasks.datasets.fc100 import fc100
from quickstudy.tasks.datasets.glyphs import glyphs
from quickstudy.tasks.datasets.mini_imagenet import mini_imagenet
from quickstudy.tasks.datasets.mnist import mnist
from quickstudy.tasks.datasets.omniglot import omniglot
from quickstudy.tasks.datasets.tiered_imagenet import tiered_imagenet
from quickstudy.tasks.decision_trees import DecisionTreeSplit, decision_trees
from quickstudy.tasks.episodes import Episodes, EpisodeShape, Plan
from quickstudy.tasks.folders import from_folder
from quickstudy.tasks.functions import FunctionSplit
from quickstudy.tasks.gaussian_processes import GaussianProcessSplit, gaussian_processes
from quickstudy.tasks.kernels import RBF, AnyOf, Kernel, Matern52, Periodic
from quickstudy.tasks.likelihood import Bernoulli, Categorical, Gaussian, GaussianMixture, Likelihood, likelihood_for
from quickstudy.tasks.linear_functions import LinearFunctionSplit, linear_functions
from quickstudy.tasks.mixture import Mixture
from quickstudy.tasks.own_tables import OwnTablesSplit, from_tables, read_tables
from quickstudy.tasks.pool import ClassPool, part_classes
from quickstudy.tasks.relu_networks import ReLUNetworkSplit, relu_networks
from quickstudy.tasks.sawtooths import SawtoothSplit, sawtooths
from quickstudy.tasks.sequences import LabelledSequences, Renamed
from quickstudy.tasks.sinusoids import SinusoidSplit, sinusoids
from quickstudy.tasks.source import Kind, Sampler, Split, TaskSource
from quickstudy.tasks.table_columns import TableColumns
from quickstudy.tasks.table_target import TableTarget
from quickstudy.tasks.tables import TableSource, from_table
from quickstudy.tasks.tabular_prior import TabularPriorSplit, tabular_prior
from quickstudy.tasks.transforms import ColourJitter, HorizontalFlip, QuarterTurns, Rotation, Shift, Transform

__all__ = [
    "RBF",
    "AllClasses",
    "AnyOf",
    "Augmented",
    "Bernoulli",
    "Binned",
    "Categorical",
    "ClassPool",
    "Collection",
    "ColourJitter",
    "DecisionTreeSplit",
    "EpisodeShape",
    "Episodes",
    "Examples",
    "FunctionSplit",
    "Gaussian",
    "GaussianMixture",
    "GaussianProcessSplit",
    "Histogram",
    "HorizontalFlip",
    "Kernel",
    "Kind",
    "LabelledSequences",
    "Likelihood",
    "LinearFunctionSplit",
    "Matern52",
    "Mixture",
    "OwnTablesSplit",
    "Periodic",
    "Plan",
    "QuarterTurns",
    "ReLUNetworkSplit",
    "Renamed",
    "Rotation",
    "Sampler",
    "SawtoothSplit",
    "Shift",
    "SinusoidSplit",
    "Split",
    "TableColumns",
    "TableSource",
    "TableTarget",
    "TabularPriorSplit",
    "TaskBatch",
    "TaskSource",
    "Transform",
    "Tree",
    "augmented",
    "cifar_fs",
    "cub",
    "decision_trees",
    "digits",
    "fc100",
    "from_arrays",
    "from_folder",
    "from_table",
    "from_tables",
    "gaussian_processes",
    "glyphs",
    "likelihood_for",
    "linear_functions",
    "mini_imagenet",
    "mnist",
    "omniglot",
    "pad",
    "part_classes",
    "read_tables",
    "relu_networks",
    "sawtooths",
    "sinusoids",
    "tabular_prior",
    "tiered_imagenet",
]
