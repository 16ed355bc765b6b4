"""The multi-class support vector machine of Crammer & Singer, solved for many tasks at once and differentiated.

    min over w, ξ of  ½ Σ_k ‖w_k‖² + C Σ_n ξ_n   subject to  (w_y(n) − w_k)·f_n ≥ 1 − ξ_n for all k ≠ y(n),  ξ_n ≥ 0

has the dual, where w_k = Σ_n α_nk f_n,

    max over α of  −½ Σ_k ‖Σ_n α_nk f_n‖² + Σ_n α_n,y(n)   subject to  α_nk ≤ C δ(y(n), k),  Σ_k α_nk = 0

With K = F Fᵀ, the slacks z = C δ − α, their multipliers s, and the multipliers ν of the sums, its optimum is where

    s_nk = δ(y(n), k) − Σ_m K_nm α_mk − ν_n,   Σ_k α_nk = 0,   z_nk s_nk = 0,   z, s ≥ 0

A primal-dual interior-point method solves that: Newton's method with a positive number, ever smaller, in place of the
last 0. Its linear systems have the side n, the number of examples, and there is one for each class.

Crammer & Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines", JMLR 2001; the method
is that of Mehrotra, "On the Implementation of a Primal-Dual Interior Point Method", SIAM J. Optimization 1992.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["crammer_singer"]

_STEPS = 60  # from 10 to 20 are usual; features of the length 10⁹ take 50
# Lengths are measured in that of the longest feature vector, so that α is of size one, or of the size of C if smaller.
_GAP = 1e-14  # the mean of z · s at which a task is done
_WRONG = 1e-6  # the most by which an equation for s may then be missed, which rounding alone can do
_SHORT_OF_BOUND = 0.995
# How loose a bound may be where systems are factored: absolutely, and against the second loosest of an example.
_LOOSEST, _LOOSER = 1e12, 1e6
_REFINEMENTS = 2


def crammer_singer(
    features: Float[Tensor, "task n width"],
    y: Int[Tensor, "task n"],
    mask: Bool[Tensor, "task n"],
    classes: Bool[Tensor, "task way"],
    inverse_penalty: float,
) -> Float[Tensor, "task n way"]:
    """The dual variables α at the optimum, in float64; 0 for padding and for classes that do not exist.

    NaN for a task whose optimum was not found: its features are not finite, or so large that rounding exceeds margins.

    Differentiable once with respect to the features, by the implicit function theorem: at the optimum a further Newton
    step changes nothing, and the derivative of that step, its matrix held fixed, is the derivative of the optimum.

    Args:
        features: zero where padded.
        y: class numbers; those of padding mean nothing.
        mask: which examples are real.
        classes: which classes the machine tells apart; one without examples is what no example is of.
        inverse_penalty: C.
    """
    features = features.double()
    kernel = features @ features.mT
    if not kernel.shape[1]:
        return features.new_zeros(*y.shape, classes.shape[1])
    unit = kernel.detach().diagonal(dim1=1, dim2=2).amax(1)
    unit = torch.where(unit > 0, unit, 1.0)
    kernel = kernel / unit[:, None, None]
    # Of a class alone every α is 0: there is nothing to tell it apart from.
    active = mask[..., None] & (classes & (classes.sum(1, keepdim=True) > 1))[:, None]
    own = F.one_hot(torch.where(mask, y, 0), classes.shape[1]).to(kernel.dtype) * mask[..., None]
    alpha, looseness = torch.ops.quickstudy.crammer_singer(kernel.detach(), own, active, inverse_penalty * unit)
    product = kernel @ alpha
    step, _ = _Newton(kernel.detach(), looseness, active).solve(product - product.detach(), alpha.new_zeros(y.shape))
    return (alpha - step) / unit[:, None, None]


# An operator of its own, so that a compiled graph can hold it, and yet it stops as soon as all tasks are done. It gets
# no gradient: that passes by.
@torch.library.custom_op("quickstudy::crammer_singer", mutates_args=())
def _optimum(kernel: Tensor, own: Tensor, active: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
    """α and z / s at the optimum, both 0 where nothing is active.

    Args:
        kernel: K `[task, n, n]`, its largest number about 1.
        own: δ `[task, n, way]`, 0 for padding.
        active: which α there are `[task, n, way]`.
        bound: C `[task]`.
    """
    alpha, z, s, nu = _start(kernel, own, active, bound)
    size = bound.clamp(max=1.0)
    count = active.sum((1, 2)).clamp(min=1)
    found = ~active.flatten(1).any(1)
    going = ~found
    for _ in range(_STEPS):
        # Variables that are not active are 1, and never move.
        gap = torch.where(active, z * s, 0.0).sum((1, 2)) / count
        wrong = torch.where(active, own - kernel @ alpha - s - nu, 0.0)
        done = gap <= _GAP * size.square()
        found |= going & done & ((wrong.abs() / (size[:, None, None] + s)).amax((1, 2)) <= _WRONG)
        going &= ~done & torch.isfinite(gap)
        if not going.any():
            break
        newton = _Newton(kernel, torch.where(active, z / s, 0.0), active)
        ahead = _direction(newton, z, s, wrong, alpha.sum(2), z * s)
        reach = _reach(z, s, *ahead[:2]).clamp(max=1.0)
        left = torch.where(active, (z + reach * ahead[0]) * (s + reach * ahead[1]), 0.0).sum((1, 2)) / count
        target = (gap * (left / gap).clamp(min=0) ** 3)[:, None, None]
        dz, ds, dnu = _direction(newton, z, s, wrong, alpha.sum(2), z * s + ahead[0] * ahead[1] - target)
        reach = torch.minimum(_SHORT_OF_BOUND * _reach(z, s, dz, ds), _lowest(z, s, dz, ds)).clamp(max=1.0)
        # α is kept beside z: where C is large, C − z would have few digits.
        alpha, z, s, nu = (
            torch.where(going[:, None, None], old + reach * change, old)
            for old, change in ((alpha, -dz), (z, dz), (s, ds), (nu, dnu))
        )
    alpha = torch.where(active, alpha, 0.0)
    return torch.where(found[:, None, None], alpha, torch.nan), torch.where(active, z / s, 0.0)


@_optimum.register_fake
def _(*inputs: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(inputs[1]), torch.empty_like(inputs[1])


@_optimum.register_vmap
def _(info: Any, axes: Sequence[int | None], *arguments: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    """What is mapped over is more tasks."""
    moved = (
        x.expand(info.batch_size, *x.shape) if axis is None else x.movedim(axis, 0)
        for x, axis in zip(arguments, axes, strict=True)
    )
    alpha, looseness = torch.ops.quickstudy.crammer_singer(*(x.flatten(0, 1) for x in moved))
    return (alpha.unflatten(0, (info.batch_size, -1)), looseness.unflatten(0, (info.batch_size, -1))), (0, 0)


def _start(kernel: Tensor, own: Tensor, active: Tensor, bound: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """α, z, s and ν that solve all but z · s = 0, and are of the size of the solution whatever that of C."""
    ways = active.sum(2, keepdim=True).clamp(min=1)
    bound = bound[:, None, None]
    # A small C binds nearly everywhere: z of an example's own class is then 0 before anything else.
    nearest = bound.square() / ways
    others = torch.where(bound > 1, 1 / ways, (bound - nearest) / (ways - 1).clamp(min=1))
    others = torch.where(active, others * (1 - own), 0.0)
    alpha = own * others.sum(2, keepdim=True) - others
    z = torch.where(own > 0, torch.where(bound > 1, bound - alpha, nearest), -alpha)
    slope = own - kernel @ alpha
    nu = torch.where(active, slope, torch.inf).amin(2, keepdim=True) - bound.clamp(max=1.0)
    nu = torch.where(active.any(2, keepdim=True), nu, 0.0)
    return alpha, torch.where(active, z, 1.0), torch.where(active, slope - nu, 1.0), nu


def _direction(
    newton: "_Newton", z: Tensor, s: Tensor, wrong: Tensor, total: Tensor, product: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Changes of z, s and ν which mend the equations, and take `product` from z · s."""
    dz, dnu = newton.solve(-wrong - product / z, total)
    return dz, torch.where(newton.active, -(product + s * dz) / z, 0.0), dnu


def _reach(z: Tensor, s: Tensor, dz: Tensor, ds: Tensor) -> Tensor:
    """The longest step that leaves z and s positive `[task, 1, 1]`."""
    steps = (torch.where(change < 0, -x / change, torch.inf) for x, change in ((z, dz), (s, ds)))
    return torch.minimum(*steps).amin((1, 2), keepdim=True)


def _lowest(z: Tensor, s: Tensor, dz: Tensor, ds: Tensor) -> Tensor:
    """The step after which the sum of z · s rises again, ∞ if it never does `[task, 1, 1]`.

    Steps beyond it can go round in circles, as they do for one task of two classes in some hundreds.
    """
    slope, bend = (x.sum((1, 2), keepdim=True) for x in (z * ds + s * dz, dz * ds))
    return torch.where((bend > 0) & (slope < 0), -slope / (2 * bend), torch.inf)


class _Newton:
    """Solves, for d and ν,  (K + diag(1 / r_k)) d_k − ν = right_k for every class,  Σ_k d_nk = total_n.

    r = z / s says how loose a bound is. Each class is eliminated by a factor of its own, ν by one of the sum of the
    inverses. Where K is singular, an α that has no bound near would make that sum singular too. So the factors are
    those of systems where it is less loose, and refining the result makes up for it; this converges, since the systems
    that are factored are the larger ones.
    """

    def __init__(
        self, kernel: Float[Tensor, "task n n"], looseness: Float[Tensor, "task n way"], active: Bool[Tensor, "..."]
    ) -> None:
        self.kernel, self.active = kernel, active
        self.tightness = 1 / torch.where(active, looseness, 1.0)
        second = looseness.topk(2, 2).values[..., 1:] if looseness.shape[2] > 1 else torch.zeros_like(looseness)
        # Up to 1, which is the size of K, nothing can be singular.
        bounded = torch.minimum(looseness, (_LOOSER * second).clamp(1.0, _LOOSEST))
        root = bounded.sqrt().mT  # [task, way, n]
        scaled = root[..., None] * kernel[:, None] * root[..., None, :] + torch.eye(kernel.shape[1]).to(kernel)
        # (K + diag(1 / r_k))⁻¹ = halfᵀ half
        self.half = torch.linalg.solve_triangular(
            torch.linalg.cholesky_ex(scaled).L, torch.diag_embed(root), upper=False
        )
        padded = torch.diag_embed((~active.any(2)).to(kernel.dtype))
        self.factor = torch.linalg.cholesky_ex((self.half.mT @ self.half).sum(1) + padded).L

    def solve(
        self, right: Float[Tensor, "task n way"], total: Float[Tensor, "task n"]
    ) -> tuple[Float[Tensor, "task n way"], Float[Tensor, "task n 1"]]:
        d, nu = self._approximate(right, total)
        for _ in range(_REFINEMENTS):
            rest = torch.where(self.active, right - self.kernel @ d - self.tightness * d + nu, 0.0)
            more, more_nu = self._approximate(rest, total - d.sum(2))
            d, nu = d + more, nu + more_nu
        return d, nu

    def _approximate(self, right: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
        alone = self._inverse(right)
        nu = torch.cholesky_solve((total - alone.sum(2))[..., None], self.factor)
        return alone + self._inverse(nu.expand_as(right)), nu

    def _inverse(self, right: Tensor) -> Tensor:
        return (self.half.mT @ (self.half @ right.mT[..., None]))[..., 0].mT
