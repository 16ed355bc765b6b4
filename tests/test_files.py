import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from quickstudy.files import replacing, write_text


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "result.json"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    save_file({"x": torch.ones(1)}, tmp_path / "private")
    with replacing(tmp_path / "ours") as temporary:
        save_file({"x": torch.ones(1)}, temporary)
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_reader_never_sees_half_a_file_when_the_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "big"
    script = (
        "import sys\nfrom quickstudy.files import write_text\n"
        "for i in range(10**6): write_text(sys.argv[1], str(i % 10) * 3_000_000)"
    )
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", script, str(path)])
        deadline = time.monotonic() + 30
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        text = path.read_text()
        assert len(text) == 3_000_000
        assert len(set(text)) == 1
