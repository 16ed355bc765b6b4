"""The recipe on films, on a small folder in their format; its baselines against counts by hand."""

from pathlib import Path

import pytest
import torch

from multitask.ratings import ITEMS, RATED, written
from quickstudy.multitask import MovieLens
from quickstudy.recipes import MovieLensRanking, run
from quickstudy.recipes.movielens_ranking import Averages

from .brief import make_brief

pytestmark = pytest.mark.unchecked  # many small calls, which the checks of shapes would make several times as slow


def recipe(folder: Path, **settings: int) -> MovieLensRanking:
    return MovieLensRanking(MovieLensRanking.Settings(str(written(folder)), **settings))


def test_runs_and_says_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_brief(monkeypatch)
    result = run(recipe(tmp_path, steps=3, batch_size=8), tmp_path / "run", seeds=(0, 1), everyone=True, device="cpu")
    learners = result["learners"]
    assert len(learners) == 9
    for name, entry in learners.items():
        assert set(entry["metrics"]) == {"watch.mrr", "rating.mse"}
        if name != "averages":
            assert (entry["training"]["chosen on"] == "last step") == name.endswith("last step")
    for words in ("Shared against separate vectors, 99 : 1", "Stopping early against the last step", "averages: watch"):
        assert words in result["verdict"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert "could not be drawn" not in page


def test_averages_are_counts_and_means(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    films = made.tasks
    assert isinstance(films, MovieLens)
    averages, kept = Averages.of(films), films.train
    # The eight earliest of every user's ten; those of user 1 stand in one second, in the order of the file.
    in_time = {user: those if user == 1 else those[::-1] for user, those in RATED.items()}
    ratings = [(user, item, stars) for user, those in in_time.items() for item, stars, _ in those[:8]]
    assert kept.size == len(ratings)
    mean = sum(stars for *_, stars in ratings) / len(ratings)
    film = {}
    for item in range(1, ITEMS + 1):
        mine = [stars - mean for _, each, stars in ratings if each == item]
        assert averages.often[item - 1] == len(mine)
        film[item] = sum(mine) / (len(mine) + 10)
    for user, those in in_time.items():
        own = sum(stars - mean - film[item] for item, stars, _ in those[:8]) / (8 + 10)
        rated = averages.predict("rating", {"user": torch.tensor([[user - 1]]), "item": torch.tensor([[4]])})
        assert float(rated.mean) == pytest.approx(mean + film[5] + own, rel=1e-5)
    x = films.test.draw(0, 4, 0).x
    odds = averages.predict("watch", x).logits[0]  # type: ignore[attr-defined]
    assert torch.equal(odds, averages.often[x["item"][0]] - averages.often[x["other"][0]])  # type: ignore[index]
    tests = made.tests()
    guess = averages.predict("rating", x).mean[0]
    wrong = (guess - films.test.y["rating"]).square().tolist()
    assert tests["rating"].score is not None
    assert tests["rating"].score(averages) == pytest.approx(sum(wrong) / len(wrong), rel=1e-5)
    # Of every user, by hand: how many films not rated before are at least as often rated as the first one found.
    ranks = []
    for user in range(len(films.ages)):
        open_ = ~films.before["test"][user]
        found = averages.often[films.relevant["test"][user]].max()
        others = averages.often[open_ & ~films.relevant["test"][user]]
        ranks.append(1 / (1 + int((others > found).sum()) + int((others == found).sum()) / 2))
    assert tests["watch"].score is not None
    assert tests["watch"].score(averages) == pytest.approx(sum(ranks) / len(ranks))


def test_films_must_be_given() -> None:
    with pytest.raises(ValueError, match=r"movielens-ranking needs --path: the folder .* GroupLens has"):
        MovieLensRanking()
