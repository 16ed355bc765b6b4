"""Named tasks, each with a data set, a head and a loss of its own."""

from quickstudy.multitask.assembled import Assembled
from quickstudy.multitask.attention import TaskAttention
from quickstudy.multitask.batch import NamedBatch, SharedBatch
from quickstudy.multitask.census import census_income
from quickstudy.multitask.conditioned import TaskConditioned
from quickstudy.multitask.cross_stitch import CrossStitch
from quickstudy.multitask.factorization import Factorization
from quickstudy.multitask.from_table import TableTasks, tasks_from_table
from quickstudy.multitask.from_targets import shared_tasks
from quickstudy.multitask.interactions import Interactions, logged_interactions
from quickstudy.multitask.mixed import MixedSplit
from quickstudy.multitask.module import NamedModule
from quickstudy.multitask.movielens import MovieLens, RatedSplit, movielens
from quickstudy.multitask.multi_gate import MultiGateMixture
from quickstudy.multitask.multi_mnist import multi_mnist
from quickstudy.multitask.named import NamedSplit, NamedTasks, named_tasks
from quickstudy.multitask.objective import Objective
from quickstudy.multitask.parkinsons import parkinsons
from quickstudy.multitask.preference import BPR
from quickstudy.multitask.progressive import ProgressiveExtraction
from quickstudy.multitask.ranker import MultiObjectiveRanker, combined_score
from quickstudy.multitask.relatedness import RelatedTasks, related_regression
from quickstudy.multitask.separate import SeparateNetworks
from quickstudy.multitask.shared import SharedSplit
from quickstudy.multitask.shared_bottom import SharedBottom
from quickstudy.multitask.soft_sharing import SoftSharing

__all__ = [
    "BPR",
    "Assembled",
    "CrossStitch",
    "Factorization",
    "Interactions",
    "MixedSplit",
    "MovieLens",
    "MultiGateMixture",
    "MultiObjectiveRanker",
    "NamedBatch",
    "NamedModule",
    "NamedSplit",
    "NamedTasks",
    "Objective",
    "ProgressiveExtraction",
    "RatedSplit",
    "RelatedTasks",
    "SeparateNetworks",
    "SharedBatch",
    "SharedBottom",
    "SharedSplit",
    "SoftSharing",
    "TableTasks",
    "TaskAttention",
    "TaskConditioned",
    "census_income",
    "combined_score",
    "logged_interactions",
    "movielens",
    "multi_mnist",
    "named_tasks",
    "parkinsons",
    "related_regression",
    "shared_tasks",
    "tasks_from_table",
]
