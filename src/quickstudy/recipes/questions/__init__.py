"""Questions that people ask before they try learning across tasks, each answered with intervals."""

from quickstudy.recipes.questions.classes import QuestionClasses
from quickstudy.recipes.questions.context_size import QuestionContextSize
from quickstudy.recipes.questions.examples import QuestionExamples
from quickstudy.recipes.questions.hand_made import QuestionHandMade
from quickstudy.recipes.questions.long_tail import QuestionLongTail
from quickstudy.recipes.questions.order import QuestionOrder
from quickstudy.recipes.questions.savings import QuestionSavings
from quickstudy.recipes.questions.set_or_sequence import QuestionSetOrSequence
from quickstudy.recipes.questions.shots import QuestionShots

__all__ = [
    "QuestionClasses",
    "QuestionContextSize",
    "QuestionExamples",
    "QuestionHandMade",
    "QuestionLongTail",
    "QuestionOrder",
    "QuestionSavings",
    "QuestionSetOrSequence",
    "QuestionShots",
]
