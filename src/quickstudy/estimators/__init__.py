"""What takes tables as they are: learners with the face of scikit-learn, and predictors that keep their columns."""

from quickstudy.estimators.in_context_classifier import InContextClassifier
from quickstudy.estimators.in_context_regressor import InContextRegressor
from quickstudy.estimators.table_predictor import TablePredictor, TargetsPredictor

__all__ = ["InContextClassifier", "InContextRegressor", "TablePredictor", "TargetsPredictor"]
