"""A small folder in the format of MovieLens-100K."""

from pathlib import Path

__all__ = ["ITEMS", "RATED", "USERS", "written"]

USERS, ITEMS = 4, 25
# Of every user ten ratings, (item, stars, time). User 1 has them all in one second; those of the others are listed from
# the latest to the earliest.
RATED = {
    user: [(1 + (user + 2 * n) % ITEMS, 1 + (user + n) % 5, 100 if user == 1 else 900 - n) for n in range(10)]
    for user in range(1, USERS + 1)
}


def written(folder: Path) -> Path:
    # Users take turns, so that what belongs to one is not in one piece.
    lines = ["\t".join(map(str, (user, *RATED[user][n]))) for n in range(10) for user in RATED]
    (folder / "u.data").write_text("\n".join(lines) + "\n", encoding="latin-1")
    titles = ["Misérables, Les (1995)" if item == 2 else f"Film {item}" for item in range(1, ITEMS + 1)]
    films = [
        "|".join(
            [str(item), title, "01-Jan-1995", "", "", *("1" if genre == item % 19 else "0" for genre in range(19))]
        )
        for item, title in enumerate(titles, 1)
    ]
    (folder / "u.item").write_text("\n".join(films) + "\n\n", encoding="latin-1")
    people = [f"{user}|{20 + user}|F|writer|9000{user}" for user in RATED]
    (folder / "u.user").write_text("\n".join(people) + "\n", encoding="latin-1")
    return folder
