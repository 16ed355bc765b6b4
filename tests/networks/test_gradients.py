import numpy as np
import pytest
import torch
from skimage.feature import hog

from quickstudy.networks import OrientedGradients


@pytest.mark.parametrize(("channels", "size", "cell", "block"), [(1, 28, 7, 2), (3, 32, 8, 3), (1, 20, 6, 1)])
def test_equal_to_scikit_image(channels: int, size: int, cell: int, block: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, channels, size, size, generator=generator, dtype=torch.float64)
    made, statistics = OrientedGradients(channels, size, cell, block)(images, torch.ones(2, 3, dtype=torch.bool))
    assert statistics == {}
    for task in range(2):
        for n in range(3):
            expected = hog(
                images[task, n].permute(1, 2, 0).numpy(),
                pixels_per_cell=(cell, cell),
                cells_per_block=(block, block),
                channel_axis=-1,
            )
            np.testing.assert_allclose(made[task, n].numpy(), expected, atol=1e-7)


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="size at least a block"):
        OrientedGradients(size=10)
    with pytest.raises(ValueError, match="was built for 28×28"):
        OrientedGradients()(torch.zeros(1, 1, 1, 20, 20), torch.ones(1, 1, dtype=torch.bool))
