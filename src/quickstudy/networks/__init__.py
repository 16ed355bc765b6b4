"""Feature extractors with task-aware normalization; they know nothing of methods."""

from quickstudy.networks.conv4 import Conv4
from quickstudy.networks.headed import Headed
from quickstudy.networks.mlp import MLP
from quickstudy.networks.network import Network, PerExample, as_network
from quickstudy.networks.normalization import POLICIES, Normalization, Policy, Statistics
from quickstudy.networks.resnet12 import ResNet12

__all__ = [
    "MLP",
    "POLICIES",
    "Conv4",
    "Headed",
    "Network",
    "Normalization",
    "PerExample",
    "Policy",
    "ResNet12",
    "Statistics",
    "as_network",
]
