"""Whether code runs inside `torch.vmap`, for the few kernels that have no, or no complete, vectorised form."""

import torch

__all__ = ["in_func", "in_vmap"]


def in_func() -> bool:
    """Whether any transformation of `torch.func` is at work around the caller."""
    return bool(torch._C._functorch.get_interpreter_stack())


def in_vmap() -> bool:
    """Whether `torch.vmap` is at work around the caller (alone or around `torch.func.grad`)."""
    stack = torch._C._functorch.get_interpreter_stack() or []
    return any(level.key() == torch._C._functorch.TransformType.Vmap for level in stack)
