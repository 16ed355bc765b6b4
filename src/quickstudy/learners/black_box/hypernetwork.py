"""A network whose weights another network writes, from what it read of the support.

    h = 1/n Σ_j e(f(x_j), y_j),   w = w_0 + G h,   p(y | x, D) from g_w(f(x))

Where a conditional process tells g what the task is beside every query, here g itself is the task's own. So φ is its
weights, and a prediction costs no more than that small network.

Bertinetto et al., "Learning Feed-Forward One-Shot Learners", NeurIPS 2016; Ha, Dai & Le, "HyperNetworks", ICLR 2017.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from quickstudy.arguments import check_whole
from quickstudy.learners.black_box.neural_process import Reader, masked_mean, read_on
from quickstudy.learners.learner import Learner
from quickstudy.learners.phi import Phi
from quickstudy.networks import MLP, Policy, as_network
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Likelihood, Reduction, likelihood_for
from quickstudy.tasks.source import Kind

__all__ = ["Hypernetwork"]


@register
class Hypernetwork(Learner):
    """The mean of what is read of the support, turned into all weights of a small network on the features.

    φ holds these, `weight` `[task, outputs, inputs]` and `bias` `[task, outputs]` of every layer, and the mean h with
    the number of examples, so that `update` is exact (unless normalization takes statistics of the support). The
    features f are shared; with `PerExample(torch.nn.Identity(), width)` for f, all that predicts is the task's own.

    Args:
        network: turns an input into features; MLP or Conv4, say.
        likelihood: what the outputs mean; a Categorical must say its number of ways.
        hidden: widths of the hidden layers of g; empty for a linear map.
        context: length of h.
        width: of the hidden layers of e.
        layers: how many of them.
        reduction: mean or sum over query examples.

    Raises:
        TypeError: `hidden` is no sequence.
        ValueError: a size below one.
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        hidden: Sequence[int] = (32,),
        context: int = 64,
        width: int = 128,
        layers: int = 2,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__(likelihood, reduction)
        if not isinstance(hidden, Sequence) or isinstance(hidden, str | bytes):
            raise TypeError(f"hidden must be a sequence of widths such as (32,), got {hidden!r}")
        check_whole(**{f"hidden[{place}]": size for place, size in enumerate(hidden)})
        check_whole(context=context, width=width, layers=layers)
        if min(context, width, layers, *hidden) < 1:
            raise ValueError(
                f"hidden, context, width and layers must be at least 1, got {hidden}, {context}, {width} and {layers}"
            )
        self.network = as_network(network)
        self.hidden, self.context, self.width, self.layers = tuple(hidden), context, width, layers
        self.reader = Reader(self.network.width, likelihood, width, layers, context)
        self.sizes = list(pairwise((self.network.width, *hidden, likelihood.outputs)))
        # What all tasks begin from is what such layers begin from; what differs between tasks is small at first.
        first = [part.flatten() for a, b in self.sizes for part in nn.Linear(a, b).parameters()]
        self.writer = nn.Linear(context, sum((a + 1) * b for a, b in self.sizes))
        with torch.no_grad():
            self.writer.weight *= 0.1
            self.writer.bias.copy_(torch.cat(first))

    @classmethod
    def example(cls, kind: Kind, normalization: Policy) -> "Hypernetwork":
        return cls(MLP(6, (16,), normalization), likelihood_for(kind, 4), (16,), context=16, width=32, layers=1)

    def _phi(self, h: Tensor, count: Tensor, statistics: Phi) -> Phi:
        written, phi = self.writer(h), {"h": h, "count": count, "statistics": statistics}
        parts = written.split([size for a, b in self.sizes for size in (a * b, b)], -1)
        for number, ((a, b), weight, bias) in enumerate(zip(self.sizes, parts[::2], parts[1::2], strict=True)):
            phi[f"layer{number}"] = {"weight": weight.unflatten(-1, (b, a)), "bias": bias}
        return phi

    def _adapt(self, support: Examples, classes: Bool[Tensor, "task way"] | None) -> Phi:
        features, statistics = self.network(support.x, support.mask)
        h = masked_mean(self.reader(features, support.y), support.mask)
        return self._phi(h, support.count.to(h.dtype), statistics)

    def _update(self, phi: Phi, examples: Examples) -> Phi:
        features, _ = self.network(examples.x, examples.mask, phi["statistics"])
        read = read_on(phi, self.reader(features, examples.y), examples)
        return {**phi, **self._phi(*read, phi["statistics"])}

    def _outputs(self, phi: Phi, x: Tree, mask: Bool[Tensor, "task n"]) -> Float[Tensor, "task n outputs"]:
        hidden, _ = self.network(x, mask, phi["statistics"])
        for number in range(len(self.sizes)):
            layer = phi[f"layer{number}"]
            hidden = hidden @ layer["weight"].mT + layer["bias"][:, None]
            if number < len(self.sizes) - 1:
                hidden = F.relu(hidden)
        return hidden
