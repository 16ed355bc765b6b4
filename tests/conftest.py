"""What all tests share: shapes are checked, caches are thrown away, data is found or said to be missing."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# The compiler cannot trace the checks, and they would refuse some bad input before the library can: what is about
# either is marked `unchecked` and runs without them, in a run of its own (see the Makefile).
CHECK_SHAPES = os.environ.get("QUICKSTUDY_CHECK_SHAPES", "1") != "0"
if CHECK_SHAPES:
    install_import_hook("quickstudy", "shape_checker.check")

import torch  # noqa: E402

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure(config: pytest.Config) -> None:
    if "QUICKSTUDY_DATA" not in os.environ and SHARED_DATA.is_dir():
        os.environ["QUICKSTUDY_DATA"] = str(SHARED_DATA)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    runs = {item: (item.get_closest_marker("unchecked") is None) == CHECK_SHAPES for item in items}
    config.hook.pytest_deselected(items=[item for item in items if not runs[item]])
    items[:] = [item for item in items if runs[item]]


def pytest_report_header() -> str:
    place = os.environ.get("QUICKSTUDY_DATA")
    return f"data: {place}" if place else "data: none given; tests of Omniglot run on small zips of the same form only"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder of the session's own, so that packing is tested and nothing is left behind."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["QUICKSTUDY_CACHE"] = str(folder)
    return folder


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
