"""The report as a document: whole, self-contained, for everyone, and the same every time."""

import re
from pathlib import Path

import pytest

from quickstudy.reporting import Outcome, card, headline, write_report
from quickstudy.reporting.sweep import sweep_lines

from .pages import Page, outcomes, page, result


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def read(text: str) -> Page:
    return Page(text)


def test_it_is_whole(read: Page) -> None:
    assert not read.open
    assert read.all("html")[0]["lang"] == "en"
    assert read.all("meta", name="viewport")
    assert read.words["h1"] == ["stripes"]
    headings = [
        "Scores",
        "Differences, paired on the same tasks",
        "Learning curves",
        "Test tasks, drawn",
        "How it adapts",
        "Calibration",
        "Failure probes",
        "Protocol",
        "How to repeat it",
    ]
    assert read.words["h2"] == headings
    ids = {attributes["id"] for _, attributes in read.elements if "id" in attributes}
    for link in read.all("a"):
        assert link["href"].startswith("#")
        assert link["href"][1:] in ids


def test_nothing_is_fetched(text: str, read: Page) -> None:
    assert "http" not in text
    assert "@import" not in text
    assert "@font-face" not in text
    assert not read.all("script")
    assert not read.all("link")
    for _, attributes in read.elements:
        for name in ("src", "href", "srcset", "data", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert not re.search(r"url\((?!#)", text)


def test_ids_belong_to_one_element_and_references_to_one_id(text: str, read: Page) -> None:
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'(?:url\(|href=")#([^")]+)', text):
        assert reference in ids


def test_verdict_and_claim_stand_at_the_top(text: str, read: Page) -> None:
    top = text[: text.index("<main>")]
    assert "Stripes &amp; waves are told apart." in top
    assert "Learning across tasks helps" in top
    assert re.search(r"prototypical is right (29|30)\.\d ± \d+\.\d percentage points more often than the best", top)
    assert "over the same 200 test tasks and 2 seeds." in top
    assert read.all("section", _class="verdict helps")


@pytest.mark.parametrize(
    ("means", "state", "title"),
    [
        ((0.8, 0.5), "helps", "Learning across tasks helps"),
        ((0.3, 0.5), "hurts", "Learning across tasks does not help here"),
        ((0.5, 0.5), "open", "No difference is shown"),
    ],
)
def test_the_headline_says_what_the_card_says(means: tuple[float, float], state: str, title: str) -> None:
    made = result(means)[0]
    found = headline(made)
    assert (found.state, found.title) == (state, title)
    assert made["verdict"].startswith(title)
    words = {"helps": "more often", "hurts": "less often", "open": "equally often"}[state]
    assert words in found.text


def test_learners_and_baselines_are_set_apart_and_the_best_is_marked(read: Page, text: str) -> None:
    assert len(read.all("tbody", _class="learner")) == len(read.all("tbody", _class="baseline")) == 1
    best = re.findall(r'<td class="best">([^<]+)</td>', text)
    assert any(cell.startswith(("79.", "80.")) for cell in best)  # the prototypes' accuracy
    assert not any(cell.startswith("50") for cell in best)
    assert "training seconds" in text


def test_it_says_how_learners_adapt(text: str) -> None:
    section = text[text.index('<section id="adaptation">') :]
    section = section[: section.index("</section>")]
    assert "the first 4 test tasks" in section
    titles = re.findall(r"<figure><p>([^<]+)</p>", section)
    assert titles == [
        "Loss by inner step",
        "Accuracy by inner step",
        "Inner gradient by step",
        "Which layers move",
        "Change by layer and step",
        "The fit, step by step",
    ]
    assert "Hollow: does not adapt." in section


def test_everyone_can_read_it(read: Page) -> None:
    for head in read.all("th"):
        assert head.get("scope") in ("col", "row", "rowgroup")
    for drawing in [*read.all("img"), *read.all("svg")]:
        assert len(drawing.get("alt") or drawing.get("aria-label") or "") > 8
    for region in read.all("div", _class="scroll"):
        assert region["tabindex"] == "0"
        assert region["aria-label"]


def test_right_and_wrong_differ_in_more_than_colour(text: str) -> None:
    tiles = re.findall(r'<li class="tile (right|wrong)">(.*?)</li>', text, re.DOTALL)
    assert {kind for kind, _ in tiles} == {"right", "wrong"}
    for kind, inside in tiles:
        assert ("✓" in inside) == (kind == "right")
        assert ("✗" in inside) == (kind == "wrong")
        assert f'alt="{kind}: said to be' in inside
        assert re.search(r"</b> \d+%", inside)
        assert ("<small>is " in inside) == (kind == "wrong")


def test_names_are_text_not_markup(text: str, read: Page) -> None:
    assert "<nearest>" not in text
    assert "&lt;nearest&gt; &amp; dearest" in text
    assert "quickstudy compare stripes --steps 50 --out &#39;my runs/&lt;1&gt;&#39;" in text
    assert read.words["pre"][0] == "quickstudy compare stripes --steps 50 --out 'my runs/<1>'"


def test_figures_take_the_colours_of_the_page(text: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) >= 2 + 1 + 2 + 5  # curves, differences, calibration, probes
    for drawing in drawings:
        assert "var(--ink)" in drawing
        assert "<text" in drawing
        # White or black of their own would vanish in one of the two schemes.
        assert not re.search(r"#(?:[0-9a-f]{3}){1,2}\b(?!-)", re.sub(r'(?:url\(|href=")#[^")]+', "", drawing))
    style = text[text.index("<style>") : text.index("</style>")]
    for variable in set(re.findall(r"var\((--[a-z0-9-]+)\)", text)):
        assert style.count(f"{variable}:") == 3, f"{variable} must be set for light, dark and print"


def test_colours_can_be_told_from_their_background(text: str) -> None:
    """WCAG 2: text at 4.5 to 1, in both schemes."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    schemes = [dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6})", block)) for block in text.split(":root {")[1:3]]
    assert schemes[0]["--paper"] != schemes[1]["--paper"]
    for scheme in schemes:
        for name in scheme:
            if name.startswith("--series") or name in ("--ink", "--muted", "--link", "--good", "--bad"):
                for ground in ("--paper", "--raised", "--good-soft", "--bad-soft", "--open-soft"):
                    if name.startswith("--series") and ground != "--paper":
                        continue
                    low, high = sorted([luminance(scheme[name]), luminance(scheme[ground])])
                    assert (high + 0.05) / (low + 0.05) >= 4.5, (name, ground, scheme[name], scheme[ground])


def test_the_same_result_gives_the_same_bytes(text: str, tmp_path: Path) -> None:
    # Learners are made anew with random weights, which the seed of every test makes the same.
    import torch

    torch.manual_seed(5)
    first = page(tmp_path / "first.html")
    torch.manual_seed(5)
    assert page(tmp_path / "second.html") == first


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    made, _ = result()
    bare = {
        key: value
        for key, value in made.items()
        if key not in ("calibration", "adaptation", "probes", "differences", "verdict")
    }
    write_report(bare, tmp_path / "bare.html", notes=["The test tasks could not be drawn: no <data>."])
    found = Page((tmp_path / "bare.html").read_text())
    assert found.words["h2"] == ["Scores", "Protocol", "How to repeat it"]
    assert [link["href"] for link in found.all("a")] == ["#scores", "#protocol", "#again"]
    assert "The test tasks could not be drawn: no <data>." in found.words["p"]


def test_a_learner_alone(tmp_path: Path) -> None:
    from quickstudy.reporting import card

    from .pages import MACHINE

    only = {"prototypical": outcomes()["prototypical"]}
    made = card("solo", "It works.", "quickstudy run solo", [0, 1], {}, {"3way2shot": {}}, only, "accuracy", MACHINE)
    write_report(made, tmp_path / "solo.html")
    found = headline(made)
    assert found.title == "prototypical was scored, and compared with no one"
    assert re.fullmatch(
        r"At 3way2shot, over 200 test tasks and 2 seeds, \d+\.\d ± \d+\.\d% of its answers are right\.", found.text
    )
    page_of_one = Page((tmp_path / "solo.html").read_text())
    assert "prototypical" in page_of_one.words["th"]
    assert not page_of_one.all("td", _class="best")


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from quickstudy.reporting import report

    page(tmp_path / "report.html")
    before = (tmp_path / "report.html").read_text()
    monkeypatch.setattr(report, "tables", lambda card: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        page(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_plain_transfer_is_a_group_of_its_own(tmp_path: Path) -> None:
    from .pages import MACHINE, scores

    found = outcomes()
    found["pre-trained"] = Outcome("transfer", [{"3way2shot": scores(0.9, 0)}], [3.0], {"weights of": "another"})
    # Not everyone is scored under every protocol.
    found["narrow"] = Outcome("baseline", [{"5way2shot": scores(0.2, 0)}], [0.0])
    protocol: dict = {"3way2shot": {"tasks": 200}, "5way2shot": {"tasks": 200}}
    made = card("transfer", "It works.", "quickstudy …", [0, 1], {}, protocol, found, "accuracy", MACHINE)
    write_report(made, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    read = Page(text)
    assert len(read.all("tbody", _class="transfer")) == 2  # one for each protocol
    for name in ("pre-trained", "narrow"):
        assert name in read.words["th"]
    assert "n/a" in text
    verdict = headline(made)
    assert verdict.title == "Learning across tasks helps"
    assert "more often than the best baseline, &lt;nearest" in text
    assert "less often than the best transfer, pre-trained" in verdict.text


def test_a_sweep_is_drawn_along_its_axis(tmp_path: Path) -> None:
    from .pages import MACHINE, scores

    found = {
        f"{series} {at}": Outcome(
            "learner", [{"5way1shot": scores(mean, at)}], [1.0], {"steps": 3}, series=series, at=at
        )
        for series, at, mean in (("wide", 64, 0.7), ("wide", 4, 0.4), ("narrow", 4, 0.3), ("narrow", 64, 0.5))
    }
    made = card("sweep", "More helps.", "quickstudy …", [0], {}, {"5way1shot": {}}, found, "accuracy", MACHINE)
    made |= {"axis": "training classes", "tests at": {}, "answer": "From 4 to 64 classes accuracy grows."}
    lines = sweep_lines(made)
    assert {name: [at for at, _ in line] for name, line in lines["5way1shot"].items()} == {
        "wide": [4, 64],
        "narrow": [4, 64],
    }
    assert lines["5way1shot"]["wide"][0][1].mean == made["learners"]["wide 4"]["metrics"]["5way1shot.accuracy"]["mean"]
    write_report(made, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert '<section id="sweep">' in text
    assert "From 4 to 64 classes accuracy grows." in text[: text.index("<main>")]
    assert "Along training classes" in text


def test_a_sweep_over_tests_has_a_line_for_every_learner() -> None:
    from .pages import MACHINE, scores

    tests = {"5way1shot": 1, "5way5shot": 5, "20way1shot": 1, "20way5shot": 5}
    found = {
        name: Outcome("learner", [{test: scores(mean, i) for i, test in enumerate(tests)}], [1.0])
        for name, mean in (("a", 0.5), ("b", 0.8))
    }
    made = card("sweep", "More helps.", "…", [0], {}, {test: {} for test in tests}, found, "accuracy", MACHINE)
    lines = sweep_lines(made | {"axis": "shots", "tests at": tests})
    assert set(lines) == {"5way…shot", "20way…shot"}
    for each in lines.values():
        assert {name: [at for at, _ in line] for name, line in each.items()} == {"a": [1, 5], "b": [1, 5]}
