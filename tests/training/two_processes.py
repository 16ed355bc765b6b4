"""One training step on a batch, alone or shared between processes: run by torchrun or plainly, writes the weights."""

import os
import sys
from functools import partial

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torchjd import aggregation, scalarization

import quickstudy as qs
from quickstudy.learners import MAML, PrototypicalNetwork
from quickstudy.multitask import SharedBottom, named_tasks, shared_tasks
from quickstudy.networks import MLP, Conv4
from quickstudy.tasks import ClassPool, Gaussian, sinusoids
from quickstudy.training import Backward, Balanced, GradNorm, Mean, Sum


class ReducesItself(Backward):
    """Averages the gradients over processes by hand, as a balancing method would before it aggregates."""

    reduces = True

    def __init__(self, parameters: list[Tensor]) -> None:
        self.parameters = parameters

    def __call__(self, losses: Tensor, fabric: Fabric) -> None:
        gradients = torch.autograd.grad(losses.mean(), self.parameters)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = fabric.all_reduce(gradient, reduce_op="mean")


def pool() -> ClassPool:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(12).repeat_interleave(8)
    images = (torch.rand(96, 1, 16, 16, generator=generator) * 200).to(torch.uint8) + labels[:, None, None, None].byte()
    names = [f"c{i}" for i in range(12)]
    parts = {"train": names[:6], "validation": names[6:9], "test": names[9:]}
    return ClassPool.from_labels(images, labels.numpy(), names, parts)


BALANCED = {
    "mgda": lambda: (aggregation.MGDA(), {}),
    "pcgrad": lambda: (aggregation.PCGrad(), {}),
    "gradvac": lambda: (aggregation.GradVac(), {"every": 2}),
    "imtl-g-representation": lambda: (aggregation.IMTLG(), {"at": "representation"}),
    "imtl-g-gramian": lambda: (aggregation.IMTLG(), {"gramian_only": True}),
    "gradvac-gramian": lambda: (aggregation.GradVac(), {"gramian_only": True, "every": 2}),
    "graddrop": lambda: (aggregation.GradDrop(), {}),
    "gradnorm": lambda: (GradNorm(), {}),
    "gradnorm-representation": lambda: (GradNorm(), {"at": "representation"}),
    "uncertainty": lambda: (scalarization.UW(3), {}),
    "famo": lambda: (scalarization.FAMO(3), {}),
    "smooth-chebyshev": lambda: (scalarization.STCH(0.5), {}),
    "random": lambda: (scalarization.Random(), {}),
}


def balanced() -> dict:
    """Three targets of the same inputs, half of one missing, so that the processes have unequal numbers of them."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(60, 3, generator=generator)
    targets = {name: (x @ torch.randn(3, generator=generator)).numpy() for name in ("a", "b", "c")}
    masks = {"b": (torch.rand(60, generator=generator) < 0.5).numpy()}
    tasks = shared_tasks(x.numpy(), targets, masks)
    result = {}
    for name, make in BALANCED.items():
        torch.manual_seed(9)
        module = SharedBottom(MLP(3, (8,)), dict.fromkeys(targets, Gaussian())).double()
        method, options = make()
        history = qs.fit(
            module,
            tasks.train,
            steps=4,
            batch_size=8,
            optimizer=partial(torch.optim.SGD, lr=0.1),
            backward=Balanced(method.double(), module, **options),
            device="cpu",
            precision="64-true",
        )
        result[f"balanced-{name}"] = {"weights": module.state_dict(), "loss": history.losses, "validation": []}
    return result


def main(out: str) -> None:
    torch.set_num_threads(1)
    result = {}
    cases = {
        **{
            f"prototypical-{policy}": (PrototypicalNetwork, (Conv4(1, 16, 4, policy),), Mean())
            for policy in ("support", "transductive", "running", "task", "layer")
        },
        "sum": (PrototypicalNetwork, (Conv4(1, 16, 4),), Sum()),
        "reduces": (PrototypicalNetwork, (Conv4(1, 16, 4),), None),
    }
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    source = pool().episodes((2, 3), (0, 3), (1, 3))
    empty = pool().episodes(2, (0, 1), (1, 3))  # a quarter of the tasks have no support at all
    cases["prototypical-running-empty"] = cases["prototypical-running"]
    for index, (name, (cls, arguments, backward)) in enumerate(cases.items()):
        torch.manual_seed(index)
        module = cls(*arguments).double()
        for parameter in module.parameters():  # another draw than at construction, the same everywhere
            torch.nn.init.normal_(parameter, std=0.3)
        backward = backward or ReducesItself(list(module.parameters()))
        history = qs.fit(
            module,
            (empty if name.endswith("empty") else source).train,
            steps=3,
            batch_size=4,
            optimizer=sgd,
            backward=backward,
            device="cpu",
            precision="64-true",
            clip=5.0,
            validation=source.validation,
            validation_size=7,
            validate_every=3,
        )
        result[name] = {"weights": module.state_dict(), "loss": history.losses, "validation": history.validation}
    torch.manual_seed(7)
    maml = MAML(MLP(1, (8,)), Gaussian(), 2)
    history = qs.fit(
        maml, sinusoids(5, 5).train, steps=3, batch_size=4, optimizer=sgd, device="cpu", precision="64-true"
    )
    result["maml"] = {"weights": maml.state_dict(), "loss": history.losses, "validation": []}
    torch.manual_seed(8)
    data = {name: (torch.randn(40, 3).numpy(), torch.randn(40).numpy()) for name in ("a", "b")}
    module = SharedBottom(MLP(3, (8,)), {"a": Gaussian(), "b": Gaussian()})
    tasks = named_tasks(data)
    history = qs.fit(
        module,
        tasks.train,
        steps=3,
        batch_size=4,
        optimizer=sgd,
        device="cpu",
        precision="64-true",
        validation=tasks.validation,
        validate_every=1,
    )
    result["named"] = {"weights": module.state_dict(), "loss": history.losses, "validation": history.validation}
    result |= balanced()
    if int(os.environ.get("RANK", "0")) == 0:
        torch.save(result, out)


if __name__ == "__main__":
    main(sys.argv[1])
