"""Feature extractors with task-aware normalization; they know nothing of methods."""

from quickstudy.networks.conv4 import Conv4
from quickstudy.networks.embedded_fields import EmbeddedFields
from quickstudy.networks.evaluating import evaluating
from quickstudy.networks.frozen import Frozen, frozen_features
from quickstudy.networks.gradients import OrientedGradients
from quickstudy.networks.headed import Headed
from quickstudy.networks.inputs import Inputs
from quickstudy.networks.mlp import MLP
from quickstudy.networks.network import Network, PerExample, as_network
from quickstudy.networks.normalization import POLICIES, Normalization, Policy, Statistics
from quickstudy.networks.resnet12 import ResNet12
from quickstudy.networks.table_network import TableNetwork
from quickstudy.networks.timm_backbone import TimmBackbone, timm_backbone

__all__ = [
    "MLP",
    "POLICIES",
    "Conv4",
    "EmbeddedFields",
    "Frozen",
    "Headed",
    "Inputs",
    "Network",
    "Normalization",
    "OrientedGradients",
    "PerExample",
    "Policy",
    "ResNet12",
    "Statistics",
    "TableNetwork",
    "TimmBackbone",
    "as_network",
    "evaluating",
    "frozen_features",
    "timm_backbone",
]
