"""Learners that compare: a query belongs to what is near it in a learned space."""

from quickstudy.learners.metric.matching import FullContextMatchingNetwork, MatchingNetwork
from quickstudy.learners.metric.prototypical import PrototypicalNetwork
from quickstudy.learners.metric.relation import RelationNetwork
from quickstudy.learners.metric.siamese import SiameseNetwork

__all__ = [
    "FullContextMatchingNetwork",
    "MatchingNetwork",
    "PrototypicalNetwork",
    "RelationNetwork",
    "SiameseNetwork",
]
