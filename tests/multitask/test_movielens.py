"""The loader of MovieLens on a small folder in its format, against what was written there, and on damaged files."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from quickstudy.multitask import MovieLens, movielens

from .ratings import ITEMS, RATED, USERS, written


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path)


@pytest.fixture
def log(folder: Path) -> MovieLens:
    return movielens(folder, validation=0.2, test=0.1)


def test_every_user_is_parted_in_time(log: MovieLens) -> None:
    for user, ratings in RATED.items():
        in_time = ratings if user == 1 else ratings[::-1]  # of one second: as in the file
        parts = {"train": in_time[:7], "validation": in_time[7:9], "test": in_time[9:]}
        before: set[int] = set()
        for name, part in parts.items():
            split = getattr(log, name)
            mine = split.x["user"] == user - 1
            found = list(zip(split.x["item"][mine].tolist(), split.y["rating"][mine].tolist(), strict=True))
            assert sorted(found) == sorted((item - 1, float(stars)) for item, stars, _ in part)
            now = {item - 1 for item, _, _ in part}
            assert set(log.relevant[name][user - 1].nonzero()[:, 0].tolist()) == now
            assert set(log.before[name][user - 1].nonzero()[:, 0].tolist()) == before
            before |= now


def test_films_and_people_are_read(log: MovieLens) -> None:
    assert log.titles[1] == "Misérables, Les (1995)"
    assert len(log.titles) == ITEMS
    assert log.genres.shape == (ITEMS, 19)
    assert log.genres.argmax(1).tolist() == [item % 19 for item in range(1, ITEMS + 1)]
    assert log.ages.tolist() == [21, 22, 23, 24]


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_no_rated_item_is_offered(log: MovieLens, name: str) -> None:
    split = getattr(log, name)
    batch = split.draw(0, 4000 if name == "train" else split.size, 0)
    user, other = batch.x["user"][0], batch.x["other"][0]
    rated = log.before[name] | log.relevant[name]
    assert not rated[user, other].any()
    assert (batch.y["watch"] == 1).all()
    if name == "train":  # all others are, about equally often
        offered = torch.zeros(USERS, ITEMS).index_put((user, other), torch.ones(()), accumulate=True)
        assert torch.equal(offered > 0, ~rated)
        free = offered[~rated]
        assert free.min() > 0.4 * free.mean()
        assert free.max() < 1.6 * free.mean()


@pytest.mark.parametrize("name", ["validation", "test"])
def test_every_held_out_example_comes_once(log: MovieLens, name: str) -> None:
    split = getattr(log, name)
    assert split.size == {"validation": 8, "test": 4}[name]
    batch = split.draw(0, split.size + 3, 0)
    for task in ("watch", "rating"):
        assert batch.mask[task][0].tolist() == [True] * split.size + [False] * 3
    pairs = list(zip(batch.x["user"][0].tolist(), batch.x["item"][0].tolist(), strict=True))[: split.size]
    assert sorted(pairs) == sorted(map(tuple, log.relevant[name].nonzero().tolist()))


@pytest.mark.parametrize("name", ["train", "validation"])
def test_draws_are_functions_of_their_numbers(log: MovieLens, name: str) -> None:
    split = getattr(log, name)
    whole, moved = split.draw(0, 60, 3), split.to("cpu").draw(0, 60, 3)
    pieces = [split.draw(first, 20, 3) for first in (40, 0, 20)]
    pieces = [pieces[1], pieces[2], pieces[0]]
    for field in ("user", "item", "other"):
        assert torch.equal(torch.cat([piece.x[field] for piece in pieces], 1), whole.x[field])
        assert torch.equal(moved.x[field], whole.x[field])
    assert torch.equal(torch.cat([piece.y["rating"] for piece in pieces], 1), whole.y["rating"])
    assert not torch.equal(split.draw(0, 60, 4).x["other"], whole.x["other"])


def test_processes_share_a_batch(log: MovieLens) -> None:
    whole = log.train.sample(2, 8, 0)
    parts = [log.train.sample(2, 8, 0, rank=rank, world=2) for rank in (0, 1)]
    for field in ("user", "item", "other"):
        assert torch.equal(torch.cat([part.x[field] for part in parts], 1), whole.x[field])


def line(name: str, number: int, changed: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """Writes a file anew with one line changed."""
    separator = "\t" if name == "u.data" else "|"

    def damage(folder: Path) -> None:
        lines = (folder / name).read_text(encoding="latin-1").split("\n")
        lines[number] = separator.join(changed(lines[number].split(separator)))
        (folder / name).write_text("\n".join(lines), encoding="latin-1")

    return damage


def everything(folder: Path) -> None:
    rated = [f"1\t{item}\t3\t{item}" for item in range(1, ITEMS + 1)]
    (folder / "u.data").write_text("\n".join(rated), encoding="latin-1")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (line("u.data", 2, lambda row: row[:3]), "u.data, line 3, has 3 fields; those of MovieLens-100K have 4"),
        (line("u.item", 0, lambda row: row[:-1]), "u.item, line 1, has 23 fields"),
        (line("u.user", 1, lambda row: [*row, ""]), "u.user, line 2, has 6 fields"),
        (line("u.data", 0, lambda row: [row[0], "x", *row[2:]]), "u.data has something that is no whole number"),
        (line("u.user", 0, lambda row: [row[0], "", *row[2:]]), "u.user has something that is no whole number"),
        (line("u.data", 0, lambda row: ["5", *row[1:]]), "names the user 5, but u.user has those from 1 to 4"),
        (line("u.data", 0, lambda row: ["0", *row[1:]]), "names the user 0"),
        (line("u.data", 0, lambda row: [row[0], "26", *row[2:]]), "names the item 26, but u.item has those from 1"),
        (line("u.data", 0, lambda row: [*row[:2], "0", row[3]]), "a rating of 0 stars; they are from 1 to 5"),
        (line("u.data", 4, lambda _: ["1", str(RATED[1][0][0]), "3", "7"]), "has the user 1 rate the item 2 more than"),
        (line("u.item", 3, lambda row: ["9", *row[1:]]), "u.item must number its lines from 1 to 25"),
        (lambda folder: (folder / "u.user").write_text(""), "u.user has no line"),
        (everything, "user 1 rated every item"),
    ],
)
def test_damaged_files_are_named(folder: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(folder)
    with pytest.raises(ValueError, match=message):
        movielens(folder)


@pytest.mark.parametrize("name", ["u.data", "u.item", "u.user"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"there is no .*{name}; get MovieLens-100K .* from GroupLens"):
        movielens(folder)


@pytest.mark.unchecked
def test_bad_arguments_are_named(folder: Path) -> None:
    with pytest.raises(TypeError, match="folder must be the path"):
        movielens(None)  # type: ignore[arg-type]
    for shares in ((0.0, 0.1), (0.1, -0.1), (0.5, 0.5)):
        with pytest.raises(ValueError, match="must be positive shares of less than 1 in all"):
            movielens(folder, validation=shares[0], test=shares[1])
    with pytest.raises(ValueError, match="leave validation empty"):
        movielens(folder, validation=0.01)
