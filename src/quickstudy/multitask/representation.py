"""Where tasks meet in a network: what their heads see, and the gradient of each task's loss there, from one pass."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Representation"]


@dataclass(frozen=True, eq=False)
class Representation:
    """The features that the heads of several tasks see, kept for balancing gradients there.

    Every task has a probe: a tensor that its loss alone depends on, so that the gradient of the sum of all losses with
    respect to the probes, their *slopes*, holds the gradient of each. A probe is a copy of the features, or what a
    linear head makes of them: then the gradient at the features is D_i W_iᵀ for slopes D_i, and neither the inner
    products of these nor their weighted sum need any of them to be made.

    Attributes:
        features: of every row of the inputs.
        of: which row is each task's.
        probes: copies `[task, n, width]`, or outputs `[task, n, output]`.
        weight: W of linear heads, when the probes are their outputs.
    """

    features: Float[Tensor, "row n width"]
    of: tuple[int, ...]
    probes: Float[Tensor, "task n _"]
    weight: Float[Tensor, "task width output"] | None = None

    def of_task(self, slopes: Float[Tensor, "task n _"], task: int) -> Float[Tensor, "row n width"]:
        """The gradient of one task's loss with respect to the features."""
        own = slopes[task] if self.weight is None else slopes[task] @ self.weight[task].mT.to(slopes.dtype)
        return self._on_features(own[None], (self.of[task],))

    def gramian(self, slopes: Float[Tensor, "task n _"]) -> Float[Tensor, "task task"]:
        """The inner products of the gradients of all losses with respect to the features, in float32 or better.

        Those of tasks with different rows are zero: each moves features that the other does not see.
        """
        products = self._products(slopes)
        if len(self.features) == 1:
            return products
        rows = torch.tensor(self.of, device=products.device)
        return products * (rows[:, None] == rows)

    def _products(self, slopes: Float[Tensor, "task n _"]) -> Float[Tensor, "task task"]:
        slopes = slopes.to(torch.promote_types(slopes.dtype, torch.float32))
        if self.weight is not None:
            weight = self.weight.to(slopes.dtype)
            (n, width), tasks, outputs = self.features.shape[1:], len(slopes), weight.shape[-1]
            if outputs**2 * (n + width) <= n * width and slopes.device.type != "mps":
                # ⟨D_i W_iᵀ, D_j W_jᵀ⟩ = Σ_ab (D_iᵀ D_j)_ab (W_iᵀ W_j)_ab: products of what is narrow. Several of them
                # may cancel (slopes of a softmax sum to zero), and so have more digits.
                exact = slopes.dtype if outputs == 1 else torch.float64
                narrow, wide = (part.mT.flatten(0, 1).to(exact) for part in (slopes, weight))
                products = (narrow @ narrow.mT) * (wide @ wide.mT)
                return products.view(tasks, outputs, tasks, outputs).sum((1, 3)).to(slopes.dtype)
            slopes = slopes @ weight.mT
        rows = slopes.flatten(1)
        return rows @ rows.mT

    def weighted(
        self, slopes: Float[Tensor, "task n _"], weights: Float[Tensor, " task"]
    ) -> Float[Tensor, "row n width"]:
        """The gradient of Σ_i w_i L_i with respect to the features."""
        slopes = weights.to(slopes.dtype)[:, None, None] * slopes
        if self.weight is None:
            return self._on_features(slopes, self.of)
        weight = self.weight.mT.to(slopes.dtype)
        if len(self.features) > 1:
            return self._on_features(slopes @ weight, self.of)
        return (slopes.movedim(0, 1).flatten(1) @ weight.flatten(0, 1))[None].to(self.features.dtype)

    def _on_features(
        self, gradients: Float[Tensor, "some n width"], of: tuple[int, ...]
    ) -> Float[Tensor, "row n width"]:
        """Gradients of tasks, each on its row of the features, where those of one row are summed."""
        gradients = gradients.to(self.features.dtype)
        if len(self.features) == 1:
            return gradients if len(gradients) == 1 else gradients.sum(0, keepdim=True)
        rows = torch.tensor(of, device=gradients.device)
        return torch.zeros_like(self.features).index_add_(0, rows, gradients)
