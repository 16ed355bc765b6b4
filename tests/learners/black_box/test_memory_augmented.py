import numpy as np
import pytest
import torch
from torch.testing import assert_close

from quickstudy.learners import MemoryAugmentedNetwork
from quickstudy.learners.black_box.memory_augmented import cosine, least_used
from quickstudy.networks import MLP
from quickstudy.tasks import Examples, Gaussian


def learner(heads: int = 1, scale: float = 1.0, labels: str = "beside") -> MemoryAugmentedNetwork:
    sizes = {"width": 6, "slots": 5, "slot_width": 4, "heads": heads}
    model = MemoryAugmentedNetwork(MLP(3, (8,)), Gaussian(), **sizes, decay=0.8, scale=scale, labels=labels)
    with torch.no_grad():  # what begins at zero would hide mistakes
        for weight in (model.first_hidden, model.first_cell, model.gate, model.asked):
            weight.normal_()
    return model.double().eval()


def support(n: int = 7, tasks: int = 3) -> Examples:
    return Examples.of(torch.randn(tasks, n, 3).double(), torch.randn(tasks, n).double())


class Plain:
    """One task, one token at a time: the equations of the paper, without torch."""

    def __init__(self, model: MemoryAugmentedNetwork) -> None:
        self.weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
        self.n, self.decay, self.scale = model.heads, model.decay, model.scale
        self.hidden, self.cell = self.weights["first_hidden"], self.weights["first_cell"]
        self.memory = np.zeros((model.slots, model.slot_width))
        self.read = [np.zeros(model.slot_width) for _ in range(self.n)]
        self.w_r = [np.zeros(model.slots) for _ in range(self.n)]
        self.w_u = np.zeros(model.slots)

    def token(self, x: np.ndarray, y: float | None) -> np.ndarray:
        weights = self.weights
        features = np.maximum(weights["network.layers.0.weight"] @ x + weights["network.layers.0.bias"], 0)
        label = weights["asked"] if y is None else weights["label.embed.weight"][:, 0] * y + weights["label.embed.bias"]
        return weights["input.weight"] @ features + weights["input.bias"] + label

    def step(self, token: np.ndarray) -> np.ndarray:
        weights, sigmoid = self.weights, lambda v: 1 / (1 + np.exp(-v))
        seen = np.concatenate([token, *self.read])
        sums = weights["controller.weight_ih"] @ seen + weights["controller.bias_ih"]
        sums = sums + weights["controller.weight_hh"] @ self.hidden + weights["controller.bias_hh"]
        enter, forget, candidate, leave = np.split(sums, 4)
        self.cell = sigmoid(forget) * self.cell + sigmoid(enter) * np.tanh(candidate)
        self.hidden = sigmoid(leave) * np.tanh(self.cell)
        keys = np.split(np.tanh(weights["key.weight"] @ self.hidden + weights["key.bias"]), self.n)

        order = sorted(range(len(self.w_u)), key=lambda slot: self.w_u[slot])[: self.n]
        w_w = []
        for head in range(self.n):
            gate, w_lu = sigmoid(weights["gate"][head]), np.zeros_like(self.w_u)
            w_lu[order[head]] = 1
            w_w.append(gate * self.w_r[head] + (1 - gate) * w_lu)
        self.memory = self.memory.copy()
        self.memory[order] = 0
        for head in range(self.n):
            for slot in range(len(self.memory)):
                self.memory[slot] += w_w[head][slot] * keys[head]

        for head, key in enumerate(keys):
            lengths = np.linalg.norm(self.memory, axis=1) * np.linalg.norm(key)
            cosines = np.divide(self.memory @ key, lengths, out=np.zeros(len(lengths)), where=lengths > 0)
            exponentials = np.exp(self.scale * cosines)
            self.w_r[head] = exponentials / exponentials.sum()
            self.read[head] = self.w_r[head] @ self.memory
        self.w_u = self.decay * self.w_u + sum(self.w_r) + sum(w_w)
        return weights["output.weight"] @ np.concatenate([self.hidden, *self.read]) + weights["output.bias"]


@pytest.mark.parametrize(
    ("heads", "scale", "labels"), [(1, 1.0, "shifted"), (1, 1.0, "beside"), (1, 3.0, "beside"), (3, 1.0, "shifted")]
)
def test_it_is_the_equations_of_the_paper(heads: int, scale: float, labels: str) -> None:
    """More examples than slots, so that slots are taken anew; uneven tasks, with a gap."""
    model, examples, asked = learner(heads, scale, labels), support(), torch.randn(3, 4, 3).double()
    examples.mask[1, 3:] = False
    examples.mask[2, 2] = False
    phi = model.adapt(examples)
    raw = model.outputs(phi, asked)
    near = {"rtol": 1e-5, "atol": 1e-6}  # where a slot holds next to nothing, its cosine is cut
    for task in range(3):
        for query in range(4):
            plain, late = Plain(model), None
            for place in examples.mask[task].nonzero().flatten().tolist():
                label = float(examples.y[task, place])
                plain.step(plain.token(examples.x[task, place].numpy(), label if labels == "beside" else late))
                late = label if labels == "shifted" else None
            for name, value in {
                "memory": plain.memory,
                "usage": plain.w_u,
                "read": plain.read,
                "reading": plain.w_r,
            }.items():
                assert_close(phi[name][task], torch.as_tensor(np.array(value)), **near)
            answer = plain.step(plain.token(asked[task, query].numpy(), late))
            assert_close(raw[task, query], torch.as_tensor(answer), **near)


def test_the_least_used_slots_are_as_the_equation_says() -> None:
    """w^lu(i) = 1 exactly where the usage is at most the n-th smallest; each head has one of them."""
    usage = torch.rand(20, 9)
    for heads in (1, 2, 9):
        taken = least_used(usage, heads)
        smallest = usage.sort(1).values[:, [heads - 1]]
        assert torch.equal(taken.sum(1), (usage <= smallest).float())
        assert (taken.sum(2) == 1).all()
        assert_close((taken * usage[:, None]).sum(2), usage.sort(1).values[:, :heads])
    tied = least_used(torch.zeros(2, 4), 2)
    assert torch.equal(tied, torch.eye(4)[:2].expand(2, -1, -1))


def test_cosines() -> None:
    key, memory = torch.randn(2, 3, 4).double(), torch.randn(2, 5, 4).double()
    expected = torch.nn.functional.cosine_similarity(key[:, :, None], memory[:, None], dim=-1)
    assert_close(cosine(key, memory), expected, rtol=1e-6, atol=1e-7)
    memory = torch.zeros(2, 5, 4).requires_grad_()
    empty = cosine(key.float(), memory)
    assert (empty == 0).all()
    empty.sum().backward()
    assert torch.isfinite(memory.grad).all()


def test_padding_leaves_the_state_alone() -> None:
    model, examples = learner(2), support()
    first = model.adapt(examples.map(lambda leaf: leaf[:, :3]))
    changed = examples.map(torch.clone)
    changed.x[:, 3:] += 1
    changed.mask[:, 3:] = False
    assert_close(model.adapt(changed), first, rtol=0, atol=0)


def test_reading_on_equals_reading_everything() -> None:
    model, old, new, asked = learner(2), support(5), support(3), torch.randn(3, 4, 3).double()
    together = Examples(*(torch.cat([getattr(part, name) for part in (old, new)], 1) for name in ("x", "y", "mask")))
    read_on = model.update(model.adapt(old), new)
    assert_close(model.outputs(read_on, asked), model.outputs(model.adapt(together), asked))


def test_bad_arguments() -> None:
    for arguments in ({"heads": 6}, {"slots": 0}, {"decay": 1.5}, {"scale": 0.0}):
        name = next(iter(arguments))
        with pytest.raises(ValueError, match=name):
            MemoryAugmentedNetwork(MLP(3), Gaussian(), **{"slots": 5, **arguments})
