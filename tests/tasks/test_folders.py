from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quickstudy.tasks import from_folder


def fill(root: Path, classes: int = 10, each: int = 4) -> Path:
    for number in range(classes):
        folder = root / f"class{number}"
        folder.mkdir(parents=True)
        for image in range(each):
            pixels = np.full((30 + image, 20, 3), 20 * number + image, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{image}.{('png', 'jpg')[image % 2]}")
    return root


def test_episodes_of_your_own_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a class")
    pool = from_folder(fill(tmp_path), size=24)
    source = pool.episodes(2, 1, 3)
    batch = source.test.draw(0, 5, 0)
    batch.check_values()
    assert batch.query.x.shape == (5, 6, 3, 24, 24)
    value = (batch.support.x[0, 0].mean() * 255 / 20).item()
    names = {f"class{round(value - 0.1)}", f"class{round(value)}"}
    assert names & set(pool.classes("test"))
    assert from_folder(tmp_path, colour="L").examples.shape[1:] == (1, 84, 84)


def test_images_of_every_kind_look_as_they_do_to_eyes(tmp_path: Path) -> None:
    fill(tmp_path, each=1)
    ramp = np.linspace(0, 60000, 64 * 64).reshape(64, 64)
    Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / "class0" / "0.png")
    ink = np.zeros((64, 64, 4), dtype=np.uint8)
    ink[:32, :, 3] = 255  # black above, nothing below
    Image.fromarray(ink).save(tmp_path / "class1" / "0.png")
    turned = Image.fromarray(np.concatenate([np.zeros((64, 32)), np.full((64, 32), 255)], 1).astype(np.uint8))
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned by a quarter
    turned.save(tmp_path / "class2" / "0.jpg", exif=exif)
    (tmp_path / "class2" / "0.png").unlink()
    (tmp_path / "class9" / "0.png").rename(tmp_path / "class9" / "0.gif")
    with pytest.warns(UserWarning, match="left out: class9"):
        pool = from_folder(tmp_path, size=8, colour="L")
    grey, drawn, photo = (pool.examples[pool.table[pool.names.index(f"class{n}"), 0], 0].float() for n in range(3))
    assert grey.mean() == pytest.approx(60000 / 257 / 2, abs=2)
    assert (grey.diff(dim=0) > 0).all()
    assert drawn[:4].max() == 0
    assert drawn[4:].min() == 255
    assert photo[:4].max() < 20
    assert photo[4:].min() > 235


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "class3" / "9.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"class3.9\.png cannot be read as an image"):
        from_folder(tmp_path)


@pytest.mark.unchecked
def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder at"):
        from_folder(tmp_path / "none")
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(ValueError, match="expected root/class/image.png"):
        from_folder(tmp_path / "empty")
    with pytest.raises(ValueError, match="leave a split empty"):
        from_folder(fill(tmp_path / "two", classes=2))
    with pytest.raises(ValueError, match="colour must be 'RGB' or 'L', got 'HSV'"):
        from_folder(tmp_path / "two", colour="HSV")  # type: ignore[arg-type]
