"""The picture of a report, from a card: `python docs/picture.py results/glyphs-compare.json docs/report.png`.

Needs a Chromium. What only the run itself knows (its curves and the tasks drawn) is not on it.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from quickstudy.reporting import read_card, write_report

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def picture(card: Path, to: Path) -> None:
    """The top of the card's report, as wide as a desk shows it."""
    browser = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"no Chromium is installed; one of {', '.join(_NAMES)} is looked for")
    with tempfile.TemporaryDirectory() as folder:
        page, shot = Path(folder) / "report.html", Path(folder) / "report.png"
        write_report(read_card(card), page)
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,1000"]
        subprocess.run([browser, *options, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True)  # noqa: S603
        shutil.move(shot, to)


if __name__ == "__main__":
    picture(Path(sys.argv[1]), Path(sys.argv[2]))
