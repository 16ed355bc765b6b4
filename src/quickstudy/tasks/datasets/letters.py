"""The letters that the fonts carried by matplotlib have in common, as clean pictures, look-alikes left out.

A letter is a character of one of a dozen scripts that stands in at least four faces (DejaVu Sans, Mono and Serif in
regular, bold and oblique; STIX). Accent variants are left out by their Unicode names; then, script by script, every
letter that in some face looks like one already taken.
"""

import unicodedata
from pathlib import Path

import matplotlib
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

__all__ = ["CANVAS", "SCRIPTS", "Letter", "letters"]

CANVAS = 64  # pixels
_INK = 44  # the longer side of a letter on the canvas, so that size tells nothing
_LEAST_FACES = 4
_ALIKE = 0.9  # correlation of two slightly blurred pictures from which they count as look-alikes

# By the first word of the Unicode name. The order decides which of two look-alikes stays: the scripts that are to be
# tested on come first, the largest last.
SCRIPTS = {
    "test": ("GEORGIAN", "HEBREW", "ARABIC", "LAO"),
    "validation": ("ARMENIAN", "GREEK", "COPTIC"),
    "train": ("CYRILLIC", "LATIN", "OLD", "LISU", "CANADIAN"),
}

Picture = UInt8[Tensor, "64 64"]


class Letter:
    """One letter.

    Attributes:
        name: `script/Unicode name`, lower case.
        split: the split of its script.
        faces: the pictures of the letter by the number of the face.
    """

    def __init__(self, character: str, split: str, faces: dict[int, Picture]) -> None:
        script, _, rest = unicodedata.name(character).lower().partition(" ")
        self.name, self.split, self.faces = f"{script}/{rest}", split, faces


def letters() -> list[Letter]:
    """All letters, the look-alikes left out."""
    paths = _face_paths()
    fonts = [ImageFont.truetype(str(path), CANVAS) for path in paths]
    standing: dict[str, list[int]] = {}
    for face, path in enumerate(paths):
        for code in FT2Font(str(path)).get_charmap():
            standing.setdefault(chr(code), []).append(face)
    found = []
    for split, scripts in SCRIPTS.items():
        for script in scripts:
            for character in sorted(standing):
                if len(standing[character]) >= _LEAST_FACES and _plain_letter(character, script):
                    pictures = {face: _picture(character, fonts[face]) for face in standing[character]}
                    found.append(Letter(character, split, pictures))
    return [found[index] for index in _without_look_alikes(found, len(paths))]


def _face_paths() -> list[Path]:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    names = ("DejaVuSans*.ttf", "DejaVuSerif*.ttf", "STIXGeneral*.ttf")
    return sorted(path for name in names for path in folder.glob(name) if "Display" not in path.name)


def _plain_letter(character: str, script: str) -> bool:
    """A letter of the script that is not another letter with a mark."""
    name = unicodedata.name(character, "")
    return (
        name.startswith(script + " ")
        and unicodedata.category(character) in ("Lu", "Ll", "Lo")
        and not unicodedata.decomposition(character)
        and " WITH " not in name
    )


def _picture(character: str, font: ImageFont.FreeTypeFont) -> Picture:
    """The letter in white on black, in the middle, its longer side of a fixed length."""
    left, top, right, bottom = font.getbbox(character)
    drawn = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(drawn).text((1 - left, 1 - top), character, font=font, fill=255)
    ink = drawn.crop(drawn.getbbox())
    scale = _INK / max(ink.size)
    ink = ink.resize([max(1, round(side * scale)) for side in ink.size], Image.Resampling.BICUBIC)
    canvas = Image.new("L", (CANVAS, CANVAS))
    canvas.paste(ink, ((CANVAS - ink.width) // 2, (CANVAS - ink.height) // 2))
    return torch.frombuffer(bytearray(canvas.tobytes()), dtype=torch.uint8).reshape(CANVAS, CANVAS)


def _without_look_alikes(found: list[Letter], faces: int) -> list[int]:
    """Indices of the letters that in no face look like an earlier one that is kept."""
    alike = torch.zeros(len(found), len(found), dtype=torch.bool)
    for face in range(faces):
        which = [index for index, letter in enumerate(found) if face in letter.faces]
        correlation = _correlation(torch.stack([found[index].faces[face] for index in which]))
        rows = torch.tensor(which)
        alike[rows[:, None], rows] |= correlation > _ALIKE
    kept: list[int] = []
    for index in range(len(found)):
        if not alike[index, kept].any():
            kept.append(index)
    return kept


def _correlation(pictures: UInt8[Tensor, "n 64 64"]) -> Float[Tensor, "n n"]:
    blurred = F.avg_pool2d(F.avg_pool2d(pictures.float()[:, None], 5, 1, 2), 2).flatten(1)
    unit = F.normalize(blurred - blurred.mean(1, keepdim=True))
    return unit @ unit.T
