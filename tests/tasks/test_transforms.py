"""Each transform against the same thing done to one image at a time, in plain numpy."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from quickstudy.tasks import ColourJitter, HorizontalFlip, QuarterTurns, Rotation, Shift, Transform

N, CHANNELS = 40, 3


def shifted(image: np.ndarray, u: np.ndarray, pixels: int, mode: str) -> np.ndarray:
    down, right = (math.floor(value * (2 * pixels + 1)) for value in u)
    padded = np.pad(image, ((0, 0), (pixels, pixels), (pixels, pixels)), mode=mode)
    return padded[:, down : down + image.shape[1], right : right + image.shape[2]]


def jittered(image: np.ndarray, u: np.ndarray) -> np.ndarray:
    lit = np.clip(image * (1 + 0.3 * (2 * u[0] - 1)), 0, 1)
    mean = (0.299 * lit[0] + 0.587 * lit[1] + 0.114 * lit[2]).mean()
    return np.clip(mean + (1 + 0.8 * (2 * u[1] - 1)) * (lit - mean), 0, 1)


def rotated(image: np.ndarray, u: np.ndarray) -> np.ndarray:
    angle = (2 * u[0] - 1) * math.radians(25)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])  # of (row, column)
    middle = (np.array(image.shape[1:]) - 1) / 2
    offset = middle - turn @ middle
    return np.stack(
        [ndimage.affine_transform(channel, turn, offset, order=1, mode="grid-constant") for channel in image]
    )


CASES = {
    "quarter turns": (QuarterTurns(), 6, lambda image, u: np.rot90(image, int(4 * u[0]), (1, 2))),
    "half turns": (QuarterTurns((0, 2)), 9, lambda image, u: np.rot90(image, 2 * int(2 * u[0]), (1, 2))),
    "flip": (HorizontalFlip(0.3), 9, lambda image, u: image[:, :, ::-1] if u[0] < 0.3 else image),
    "shift": (Shift(2), 9, lambda image, u: shifted(image, u, 2, "constant")),
    "mirrored shift": (Shift(4, "reflect"), 9, lambda image, u: shifted(image, u, 4, "reflect")),
    "jitter": (ColourJitter(0.3, 0.8), 9, jittered),
    "rotation": (Rotation(25), 9, rotated),
}


def sample(width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(N, CHANNELS, 6, width), torch.rand(N, 2)


@pytest.mark.parametrize("name", CASES)
def test_image_by_image(name: str) -> None:
    transform, width, reference = CASES[name]
    images, uniform = sample(width)
    before = images.clone()
    found = transform(images, uniform[:, : transform.numbers])
    expected = np.stack([reference(i, u) for i, u in zip(images.double().numpy(), uniform.numpy(), strict=True)])
    assert found.shape == images.shape
    assert np.abs(found.numpy() - expected).max() < 3e-6
    assert torch.equal(images, before)  # nothing is changed in place
    assert not torch.equal(found, images)


@pytest.mark.parametrize("name", CASES)
def test_values_stay_in_range(name: str) -> None:
    transform, width, _ = CASES[name]
    images = torch.randint(0, 2, (N, CHANNELS, 6, width)).float()  # at both ends already
    found = transform(images, torch.rand(N, transform.numbers))
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6


@pytest.mark.parametrize(
    "transform",
    [QuarterTurns((0,)), HorizontalFlip(0.0), Shift(0), Shift(0, "reflect"), ColourJitter(0, 0), Rotation(0)],
    ids=repr,
)
def test_identity_changes_nothing(transform: Transform) -> None:
    images, uniform = sample(6)
    assert torch.equal(transform(images, uniform[:, : transform.numbers]), images)


def test_extreme_numbers() -> None:
    image = torch.arange(9.0).reshape(1, 1, 3, 3) / 9
    almost = torch.full((1, 2), 1 - 2**-24)
    assert torch.equal(Shift(1)(image, torch.zeros(1, 2))[0, 0, 1:, 1:], image[0, 0, :2, :2])  # down and right
    assert torch.equal(Shift(1)(image, almost)[0, 0, :2, :2], image[0, 0, 1:, 1:])
    assert torch.equal(QuarterTurns()(image, almost[:, :1]), torch.rot90(image, 3, (-2, -1)))
    assert torch.equal(HorizontalFlip(1.0)(image, almost[:, :1]), image.flip(-1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuarterTurns(()), r"turns must be some of 0, 1, 2, 3, got \(\)"),
        (lambda: QuarterTurns((0, 4)), r"turns must be some of 0, 1, 2, 3, got \(0, 4\)"),
        (lambda: HorizontalFlip(1.5), "probability must lie in 0 … 1, got 1.5"),
        (lambda: Shift(-1), "pixels must not be negative, got -1"),
        (lambda: ColourJitter(contrast=2.0), "contrast must lie in 0 … 1, got 2.0"),
        (lambda: Rotation(-5), "degrees must lie in 0 … 180, got -5"),
        (lambda: QuarterTurns()(torch.zeros(1, 1, 3, 4), torch.zeros(1, 1)), "only square images .* got 3×4"),
        (lambda: Shift(3, "reflect")(torch.zeros(1, 1, 3, 4), torch.zeros(1, 2)), "3×4 pixels cannot be mirrored 3"),
        (lambda: ColourJitter()(torch.full((1, 1, 3, 3), 255.0), torch.zeros(1, 2)), "got values from 255 to 255"),
    ],
)
def test_wrong_values(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.unchecked
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shift(1, "wrap"), "padding must be 'zeros' or 'reflect', got 'wrap'"),
        (lambda: Shift(1, per="task"), "per must be 'image' or 'class', got 'task'"),
    ],
)
def test_unknown_names(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
