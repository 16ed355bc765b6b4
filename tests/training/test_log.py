import json
from pathlib import Path

from quickstudy.training.log import Log, read_log


def test_resuming_drops_lines_of_lost_work(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path, 0)
    for step in range(1, 6):
        log.write(step, loss=step / 10)
    with path.open("a") as file:
        file.write('{"step": 6, "lo')  # cut off by a kill
    assert [line["step"] for line in read_log(path)] == [1, 2, 3, 4, 5]
    Log(path, 3).write(4, loss=0.0)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 4]
    Log(path, 0)
    assert read_log(path) == []


def test_without_a_path_nothing_is_kept() -> None:
    Log(None, 0).write(1, loss=0.0)
