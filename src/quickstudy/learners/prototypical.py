"""Prototypical networks: a class is the mean of its embedded support, a query belongs to the nearest.

    c_k = mean of f(x) over the support of class k;  p(y = k given x) = softmax over k of −‖f(x) − c_k‖²

Snell, Swersky & Zemel, "Prototypical Networks for Few-shot Learning", NeurIPS 2017.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Categorical, Reduction
from quickstudy.tasks.source import Kind

__all__ = ["PrototypicalNetwork", "nearness"]


@register
class PrototypicalNetwork(Learner):
    """Nearest class mean in a learned embedding; any number of classes.

    φ holds the prototypes `[task, way, width]`. A class that exists but has no support example gets the mean of the
    task's other prototypes: nothing is known of it but the task that it belongs to.

    Args:
        network: the embedding.
        reduction: mean or sum over query examples.
    """

    kinds = frozenset({"classification"})

    def __init__(self, network: nn.Module, reduction: Reduction = "mean") -> None:
        super().__init__(Categorical(), reduction)
        self.network = as_network(network)

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "PrototypicalNetwork":
        return cls(MLP(6, (16, 16), normalization))

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        assert classes is not None  # Categorical always resolves them
        features, statistics = self.network(support.x, support.mask)
        members = F.one_hot(support.y, classes.shape[1]) * support.mask[..., None]
        with torch.autocast(features.device.type, enabled=False):
            features = features if features.dtype == torch.float64 else features.float()
            sums = torch.einsum("tnw,tnd->twd", members.to(features.dtype), features)
            counts = members.sum(1)[..., None]
            prototypes = sums / counts.clamp(min=1)
            seen = (counts > 0).to(features.dtype)
            others = (prototypes * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp(min=1)
            prototypes = torch.where(counts > 0, prototypes, others)
        return {"prototypes": prototypes, "statistics": statistics}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n way"]:
        features, _ = self.network(x, mask, phi["statistics"])
        return nearness(features, phi["prototypes"])


def nearness(x: Float[Tensor, "task n width"], points: Float[Tensor, "task m width"]) -> Float[Tensor, "task n m"]:
    """−‖x − p‖² + ‖x‖²: in every row the order, and the softmax, of the negative squared distances.

    By expansion, 2 x·p − ‖p‖² (`cdist` has no second derivative), and never in half precision, in which the
    difference of two near points drowns.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, points = (t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in (x, points))
        return 2 * x @ points.mT - points.square().sum(-1)[:, None]
