"""Experiments, one file each; importing this package makes them known."""

from quickstudy.recipes.balancing_toy import BalancingToy
from quickstudy.recipes.census_experts import CensusExperts
from quickstudy.recipes.glyphs_compare import GlyphsCompare
from quickstudy.recipes.gp_processes import GPProcesses
from quickstudy.recipes.icl_emergence import ICLEmergence
from quickstudy.recipes.incontext_functions import InContextFunctions
from quickstudy.recipes.incontext_linear import InContextLinear
from quickstudy.recipes.inner_loop_questions import InnerLoopQuestions
from quickstudy.recipes.meta_gradient_memory import MetaGradientMemory
from quickstudy.recipes.movielens_ranking import MovieLensRanking
from quickstudy.recipes.multimnist_balancing import MultiMNISTBalancing
from quickstudy.recipes.named_recipe import NamedContestant, NamedRecipe, tuned
from quickstudy.recipes.omniglot_blackbox_compare import OmniglotBlackboxCompare
from quickstudy.recipes.omniglot_gradient_compare import OmniglotGradientCompare
from quickstudy.recipes.omniglot_lstm import OmniglotLSTM
from quickstudy.recipes.omniglot_maml import OmniglotMAML
from quickstudy.recipes.omniglot_metric import OmniglotMetric
from quickstudy.recipes.omniglot_prototypical import OmniglotPrototypical
from quickstudy.recipes.own_tasks import OwnTasks
from quickstudy.recipes.parkinsons_tasks import ParkinsonsTasks
from quickstudy.recipes.questions import (
    QuestionClasses,
    QuestionContextSize,
    QuestionExamples,
    QuestionHandMade,
    QuestionLongTail,
    QuestionOrder,
    QuestionSavings,
    QuestionSetOrSequence,
    QuestionShots,
)
from quickstudy.recipes.recipe import Contestant, Recipe, Training, option, recipe, recipes
from quickstudy.recipes.recommender import Recommender
from quickstudy.recipes.relatedness_dial import RelatednessDial
from quickstudy.recipes.report import report
from quickstudy.recipes.run import run
from quickstudy.recipes.sinusoid_gradient_compare import SinusoidGradientCompare
from quickstudy.recipes.sinusoid_maml import SinusoidMAML
from quickstudy.recipes.tabular_own_tables import TabularOwnTables
from quickstudy.recipes.tabular_prior import TabularPrior
from quickstudy.recipes.when_to_share import WhenToShare

__all__ = [
    "BalancingToy",
    "CensusExperts",
    "Contestant",
    "GPProcesses",
    "GlyphsCompare",
    "ICLEmergence",
    "InContextFunctions",
    "InContextLinear",
    "InnerLoopQuestions",
    "MetaGradientMemory",
    "MovieLensRanking",
    "MultiMNISTBalancing",
    "NamedContestant",
    "NamedRecipe",
    "OmniglotBlackboxCompare",
    "OmniglotGradientCompare",
    "OmniglotLSTM",
    "OmniglotMAML",
    "OmniglotMetric",
    "OmniglotPrototypical",
    "OwnTasks",
    "ParkinsonsTasks",
    "QuestionClasses",
    "QuestionContextSize",
    "QuestionExamples",
    "QuestionHandMade",
    "QuestionLongTail",
    "QuestionOrder",
    "QuestionSavings",
    "QuestionSetOrSequence",
    "QuestionShots",
    "Recipe",
    "Recommender",
    "RelatednessDial",
    "SinusoidGradientCompare",
    "SinusoidMAML",
    "TabularOwnTables",
    "TabularPrior",
    "Training",
    "WhenToShare",
    "option",
    "recipe",
    "recipes",
    "report",
    "run",
    "tuned",
]
