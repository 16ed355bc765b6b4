import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from torch.testing import assert_close

from quickstudy.networks import TableNetwork


def table(rows: int = 9, columns: int = 3, room: int = 5) -> tuple[torch.Tensor, np.ndarray]:
    """A table with holes as the network takes it, and with NaN."""
    generator = np.random.default_rng(0)
    values = generator.normal(size=(rows, columns)) * [1, 100, 0.01] + [5, -300, 0]
    values[generator.random(values.shape) < 0.2] = np.nan
    x = torch.zeros(1, rows, 2, room)
    x[0, :, 0, :columns] = torch.from_numpy(np.nan_to_num(values))
    x[0, :, 1, :columns] = torch.from_numpy(~np.isnan(values))
    return x, values


def test_equals_standardised_columns() -> None:
    """scikit-learn's scaler leaves out holes too."""
    x, values = table()
    network, mask = TableNetwork(5, 4), torch.ones(1, 9, dtype=torch.bool)
    found, statistics = network(x, mask)
    scaler = StandardScaler().fit(values)
    scaled = np.zeros((9, 5))
    scaled[:, :3] = np.nan_to_num(scaler.transform(values)) * 5 / 3
    holes = np.zeros((9, 5))
    holes[:, :3] = np.isnan(values)
    expected = torch.from_numpy(scaled).float() @ network.values.weight.T + network.values.bias
    expected = expected + torch.from_numpy(holes).float() @ network.holes.weight.T
    assert_close(found[0], expected, rtol=1e-3, atol=1e-3)
    # Queries are standardised by the support.
    query, _ = network(x[:, :1], mask[:, :1], statistics)
    assert_close(query, found[:, :1])


def test_padding_has_no_say() -> None:
    x, _ = table()
    network, mask = TableNetwork(5, 4), torch.arange(9)[None] < 6
    dirty = torch.where(mask[..., None, None], x, torch.full_like(x, 7.0))
    assert_close(network(dirty, mask)[0][:, :6], network(x[:, :6], mask[:, :6])[0])


def test_a_column_that_is_empty_in_the_support_tells_nothing() -> None:
    x, _ = table()
    network, mask = TableNetwork(5, 4), torch.ones(1, 9, dtype=torch.bool)
    _, statistics = network(x, mask)
    query = x.clone()
    query[:, :, :, 4] = 1.0
    assert_close(network(query, mask, statistics)[0], network(x, mask, statistics)[0])


def test_no_support_at_all() -> None:
    network = TableNetwork(5, 4)
    _, statistics = network(torch.zeros(2, 0, 2, 5), torch.ones(2, 0, dtype=torch.bool))
    found, _ = network(torch.randn(2, 3, 2, 5), torch.ones(2, 3, dtype=torch.bool), statistics)
    assert torch.isfinite(found).all()


def test_far_values_are_cut() -> None:
    x, _ = table()
    network, mask = TableNetwork(5, 4), torch.ones(1, 9, dtype=torch.bool)
    _, statistics = network(x, mask)
    far, farther = x.clone(), x.clone()
    far[:, :, 0], farther[:, :, 0] = 1e6, 1e9
    assert_close(network(far, mask, statistics)[0], network(farther, mask, statistics)[0])


def test_refusals() -> None:
    with pytest.raises(ValueError, match="features and width must be at least 1, got 0 and 4"):
        TableNetwork(0, 4)
    with pytest.raises(ValueError, match=r"takes floating-point x \[task, n, 2, 5\], got torch.float32 \(1, 2, 5\)"):
        TableNetwork(5, 4)(torch.zeros(1, 2, 5), torch.ones(1, 2, dtype=torch.bool))
