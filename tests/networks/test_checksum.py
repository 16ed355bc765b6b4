import copy

import pytest
import torch
from torch import nn

from quickstudy.networks import MLP, Conv4
from quickstudy.networks.checksum import module_checksum, tensor_checksum


class Scaled(nn.Module):
    """Has a part, a setting, a function, a tensor that is no buffer, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.factor, self.activation, self.offset = 2.0, torch.relu, torch.zeros(2)
        self.register_buffer("kept", torch.zeros(2), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(self.linear(x)) * self.factor + self.offset + self.kept


def test_tensors() -> None:
    tensor = torch.arange(6, dtype=torch.float32)
    others = [tensor + 1, tensor.reshape(2, 3), tensor.double(), tensor.bfloat16(), tensor[:5], tensor[:0], tensor[0]]
    assert len({tensor_checksum(other) for other in [tensor, *others]}) == 8
    assert tensor_checksum(tensor.reshape(2, 3).t().contiguous().t()) == tensor_checksum(tensor.reshape(2, 3))


def test_a_copy_has_the_same_checksum() -> None:
    for module in (Scaled(), Conv4(size=16, filters=4), MLP(3, (4,)), nn.BatchNorm1d(3)):
        first = module_checksum(module)
        assert len(first) == 16
        twin = copy.deepcopy(module).eval()
        assert module_checksum(twin) == first  # training mode does not count
        with torch.no_grad():
            next(twin.parameters()).view(-1)[0] += 1e-3
        assert module_checksum(twin) != first


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("factor", 3.0), ("activation", torch.tanh), ("offset", torch.ones(2)), ("kept", torch.ones(2))],
)
def test_what_changes_the_output_changes_the_checksum(attribute: str, value: object) -> None:
    module = Scaled()
    first = module_checksum(module)
    setattr(module, attribute, value)
    assert module_checksum(module) != first


def test_settings_and_classes_of_parts_count() -> None:
    built = [
        nn.Sequential(nn.Conv2d(1, 1, 3, padding=padding), activation)
        for padding in (0, 1)
        for activation in (nn.ReLU(), nn.GELU(), nn.LeakyReLU(0.1), nn.LeakyReLU(0.2))
    ]
    for module in built:
        module.load_state_dict(built[0].state_dict())
    assert len({module_checksum(module) for module in built}) == 8


def test_the_source_of_a_class_counts(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Scaled()
    first = module_checksum(module)
    source = "class Scaled(nn.Module):\n    ...  # edited"
    monkeypatch.setattr("quickstudy.networks.checksum.inspect.getsource", lambda cls: source)
    assert module_checksum(module) != first

    def unknown(cls: type) -> str:
        raise OSError("typed into a console")

    monkeypatch.setattr("quickstudy.networks.checksum.inspect.getsource", unknown)
    assert module_checksum(module) == module_checksum(copy.deepcopy(module))
