"""Predictions of several, averaged: what is predicted when a task is known only up to a few possibilities.

p(y | x) = 1/S Σ_s p_s(y | x)
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor
from torch import distributions as D

from quickstudy.arguments import check_whole
from quickstudy.rebuild import register
from quickstudy.tasks.batch import Examples, Tree
from quickstudy.tasks.likelihood import Likelihood
from quickstudy.tasks.source import Kind

__all__ = ["Mixture"]


@register
class Mixture(Likelihood):
    """Several predictions of one form, each as likely to be right.

    Raw outputs are those of the components, one after the other. For classes, and for yes and no, the average of
    probabilities is one distribution of the same form; for real targets it is a mixture.

    Args:
        component: what one prediction means.
        components: how many there are.

    Raises:
        TypeError: something else than a likelihood.
        ValueError: none of them.
    """

    kind: Kind  # type: ignore[misc] # that of its component

    def __init__(self, component: Likelihood, components: int) -> None:
        if not isinstance(component, Likelihood):
            raise TypeError(f"component must be a Likelihood such as Gaussian(), got {component!r}")
        check_whole(components=components)
        if components < 1:
            raise ValueError(f"components must be at least 1, got {components}")
        self.component, self.components, self.kind = component, components, component.kind

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return self.components * self.component.outputs

    def each(
        self, raw: Float[Tensor, "*task n outputs"], classes: Bool[Tensor, "*task way"] | None = None
    ) -> D.Distribution:
        """The components, with the batch shape `[task, n, component]`."""
        raw = raw.unflatten(-1, (self.components, self.component.outputs))
        if classes is not None:
            classes = classes.unsqueeze(-2).expand(*raw.shape[:-2], classes.shape[-1])
        return self.component.distribution(raw, classes)

    def distribution(
        self, raw: Float[Tensor, "*task n outputs"], classes: Bool[Tensor, "*task way"] | None = None
    ) -> D.Distribution:
        each = self.each(raw, classes)
        if isinstance(each, D.Categorical):
            # From a bound on, as the logarithm of a sum of zeros has no gradient.
            logits = each.logits.clamp(min=torch.finfo(each.logits.dtype).min / 2).logsumexp(-2)
            if classes is not None:
                logits = logits.masked_fill(~classes.unsqueeze(-2), -math.inf)
            return D.Categorical(logits=logits, validate_args=False)
        if isinstance(each, D.Bernoulli):
            yes, no = (F.logsigmoid(sign * each.logits).logsumexp(-1) for sign in (1, -1))
            return D.Bernoulli(logits=yes - no, validate_args=False)
        equal = D.Categorical(logits=torch.zeros(each.batch_shape, dtype=raw.dtype, device=raw.device))
        return D.MixtureSameFamily(equal, each, validate_args=False)

    def joint(
        self, raw: Float[Tensor, "task n outputs"], examples: Examples, classes: Bool[Tensor, "task way"] | None = None
    ) -> Float[Tensor, "task component"]:
        """log p of all real examples of a task together, by every component."""
        log_prob = self.each(raw, classes).log_prob(examples.y.unsqueeze(2))
        return torch.where(examples.mask[..., None], log_prob, 0.0).sum(1)

    def check(self, y: Tree) -> None:
        self.component.check(y)

    def check_values(self, name: str, examples: Examples) -> None:
        self.component.check_values(name, examples)

    def resolve_classes(
        self, support: Examples, classes: Bool[Tensor, "task way"] | None
    ) -> Bool[Tensor, "task outputs"] | None:
        return self.component.resolve_classes(support, classes)
