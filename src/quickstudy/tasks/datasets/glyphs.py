"""Glyphs: letters of a dozen scripts, rendered from fonts that are on the machine already. No download.

Every letter stands in at least four faces, and every face in eight variants: thinner or bolder, rotated, sheared,
scaled, moved and bent. A class is a letter, its group is the face. Scripts of the test set are seen in no training
task. The variation was fixed before any learner was scored, by one criterion: that a nearest neighbour on pixels is
right less than 60% of the time, one shot, five ways, support and query in different faces.
"""

import json

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from quickstudy.progress import bar
from quickstudy.tasks import draws
from quickstudy.tasks.datasets.letters import letters
from quickstudy.tasks.datasets.storage import packed
from quickstudy.tasks.pool import ClassPool
from quickstudy.tasks.source import SPLITS

__all__ = ["SIZE", "VARIANTS", "glyphs"]

SIZE = 28  # pixels
VARIANTS = 8  # of every letter in every face
_VERSION = 1
_SEED = 0

# The variation, each uniform between plus and minus, or (least, most).
_ANGLE = 0.35  # radians
_SHEAR = 0.25
_SCALE = (0.75, 1.1)
_SHIFT = 0.12  # of the canvas' half width
_BEND = 0.09  # likewise, at the knots of a coarse grid
_KNOTS = 5
_STROKES = (-1, 0, 1, 2)  # pixels of the canvas, eroded or dilated


def glyphs() -> ClassPool:
    """Letters as a pool of classes, `[1, 28, 28]`, strokes 1 and ground 0; groups are faces.

    Train: Cyrillic, Latin, Old Italic, Lisu, Canadian syllabics. Validation: Armenian, Greek, Coptic. Test: Georgian,
    Hebrew, Arabic, Lao. Episodes of this pool take support and query from different faces unless told otherwise.
    """
    # The fonts are matplotlib's, and so is what draws them.
    tensors, texts = packed(f"glyphs-matplotlib{matplotlib.__version__}", _VERSION, _pack)
    names = json.loads(texts["names"])
    parts: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name, split in zip(names, json.loads(texts["splits"]), strict=True):
        parts[split].append(name)
    protocol = {"data": "glyphs", "split": "by script", "size": f"{SIZE}×{SIZE}"}
    return ClassPool.from_labels(
        tensors["images"],
        tensors["labels"].numpy(),
        names,
        parts,
        tensors["faces"].numpy(),
        protocol,
        separate_groups=True,
    )


def _pack() -> tuple[dict[str, Tensor], dict[str, str]]:
    found = letters()
    pictures = torch.stack([picture for letter in found for picture in letter.faces.values()])
    faces = np.array([face for letter in found for face in letter.faces])
    labels = np.repeat(np.arange(len(found)), [len(letter.faces) for letter in found])
    numbers = torch.from_numpy(draws.uniforms(_SEED, "glyphs", 0, len(pictures) * VARIANTS, 7 + 2 * _KNOTS**2)).float()
    images = []
    with bar("rendering glyphs", VARIANTS) as progress:
        for variant in numbers.unflatten(0, (VARIANTS, -1)):
            images.append(_varied(pictures, variant))
            progress.advance()
    tensors = {
        "images": torch.cat(images)[:, None],
        "labels": torch.from_numpy(np.tile(labels, VARIANTS)),
        "faces": torch.from_numpy(np.tile(faces, VARIANTS)),
    }
    texts = {"names": [letter.name for letter in found], "splits": [letter.split for letter in found]}
    return tensors, {key: json.dumps(value) for key, value in texts.items()}


def _varied(pictures: UInt8[Tensor, "n 64 64"], uniform: Float[Tensor, "n numbers"]) -> UInt8[Tensor, "n 28 28"]:
    """One variant of every picture, from uniform numbers in [0, 1)."""
    inked = _stroked(pictures.float()[:, None] / 255, uniform[:, 0])
    signed = 2 * uniform - 1
    grid = F.affine_grid(_affine(signed, uniform), [len(pictures), 1, SIZE, SIZE], align_corners=False)
    knots = signed[:, 7:].reshape(-1, 2, _KNOTS, _KNOTS)
    bend = F.interpolate(knots, (SIZE, SIZE), mode="bicubic", align_corners=True)
    grid = grid + _BEND * bend.permute(0, 2, 3, 1)
    # The grid is coarser than the canvas: a slight blur beforehand keeps strokes from falling between its points.
    small = F.grid_sample(F.avg_pool2d(inked, 3, 1, 1), grid, align_corners=False)
    return (small[:, 0] * 255).round().clamp(0, 255).to(torch.uint8)


def _stroked(inked: Float[Tensor, "n 1 64 64"], uniform: Float[Tensor, " n"]) -> Float[Tensor, "n 1 64 64"]:
    """Strokes made thinner or bolder by a whole number of pixels on each side."""
    choice = (uniform * len(_STROKES)).long()
    out = inked.clone()
    for index, pixels in enumerate(_STROKES):
        which, side = choice == index, 2 * abs(pixels) + 1
        if pixels > 0:
            out[which] = F.max_pool2d(inked[which], side, 1, pixels)
        elif pixels < 0:
            out[which] = -F.max_pool2d(-inked[which], side, 1, -pixels)
    return out


def _affine(signed: Float[Tensor, "n numbers"], uniform: Float[Tensor, "n numbers"]) -> Float[Tensor, "n 2 3"]:
    """Where in the canvas each point of the picture is taken from: rotation, shear and scale, then a shift."""
    angle, shear = _ANGLE * signed[:, 1], _SHEAR * signed[:, 2]
    scale = _SCALE[0] + (_SCALE[1] - _SCALE[0]) * uniform[:, 3:5]
    cosine, sine = angle.cos(), angle.sin()
    rows = torch.stack(
        [
            torch.stack([cosine / scale[:, 0], (shear * cosine - sine) / scale[:, 1]], 1),
            torch.stack([sine / scale[:, 0], (shear * sine + cosine) / scale[:, 1]], 1),
        ],
        1,
    )
    # The letter takes 44 of 64 pixels; the picture shows the middle of the canvas so that it fills 28 likewise.
    return torch.cat([rows * 0.9, _SHIFT * signed[:, 5:7, None]], 2)
