"""What a task is, and where tasks come from."""

from quickstudy.tasks.all_classes import AllClasses
from quickstudy.tasks.batch import Examples, TaskBatch, Tree, pad
from quickstudy.tasks.collection import Collection, from_arrays
from quickstudy.tasks.datasets.glyphs import glyphs
from quickstudy.tasks.datasets.omniglot import omniglot
from quickstudy.tasks.episodes import Episodes, EpisodeShape, Plan
from quickstudy.tasks.folders import from_folder
from quickstudy.tasks.likelihood import Bernoulli, Categorical, Gaussian, Likelihood, likelihood_for
from quickstudy.tasks.pool import ClassPool, part_classes
from quickstudy.tasks.sinusoids import SinusoidSplit, sinusoids
from quickstudy.tasks.source import Kind, Sampler, Split, TaskSource
from quickstudy.tasks.tables import from_table

__all__ = [
    "AllClasses",
    "Bernoulli",
    "Categorical",
    "ClassPool",
    "Collection",
    "EpisodeShape",
    "Episodes",
    "Examples",
    "Gaussian",
    "Kind",
    "Likelihood",
    "Plan",
    "Sampler",
    "SinusoidSplit",
    "Split",
    "TaskBatch",
    "TaskSource",
    "Tree",
    "from_arrays",
    "from_folder",
    "from_table",
    "glyphs",
    "likelihood_for",
    "omniglot",
    "pad",
    "part_classes",
    "sinusoids",
]
