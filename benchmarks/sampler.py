"""How many episodes a second: 5-way 1-shot, 15 queries, batches of 16, from Omniglot's 4,112 training classes.

Beside ours, in the same run: a gather with nothing around it (classes and examples drawn with `torch.rand` and `topk`),
and the way of libraries that build an episode image by image in Python and stack the episodes.
"""

import random
from itertools import count

import torch
from side_by_side import take_turns, write
from torch import Tensor

from quickstudy.tasks import ClassPool, omniglot
from quickstudy.training import reuse_memory

WAYS, SHOTS, QUERIES, BATCH, BATCHES = 5, 1, 15, 16, 20


def gather_only(pool: ClassPool) -> Tensor:
    """The floor: nothing is shuffled, masked, numbered or repeatable."""
    table = torch.from_numpy(pool.table[pool.parts["train"]])
    classes = torch.rand(BATCH, len(table)).topk(WAYS, 1).indices
    picks = torch.rand(BATCH, WAYS, 20).topk(SHOTS + QUERIES, 2).indices
    rows = table[classes].gather(2, picks)
    return pool.examples.index_select(0, rows.flatten()) * (1 / 255)


def image_by_image(pool: ClassPool) -> Tensor:
    """One Python step per image, then `torch.stack`, for every episode and for the batch."""
    table = pool.table[pool.parts["train"]]
    episodes = []
    for _ in range(BATCH):
        images = []
        for row in random.sample(range(len(table)), WAYS):
            for member in random.sample(table[row].tolist(), SHOTS + QUERIES):
                images.append(pool.examples[member].float() / 255)
        episodes.append(torch.stack(images))
    return torch.stack(episodes)


def main() -> None:
    torch.set_num_threads(2)
    reuse_memory()  # as the command does; for all three
    pool = omniglot()
    split = pool.episodes(WAYS, SHOTS, QUERIES).train
    step = count()
    seconds = take_turns(
        {
            "quickstudy": lambda: [split.sample(next(step), BATCH, 0) for _ in range(BATCHES)],
            "a bare gather": lambda: [gather_only(pool) for _ in range(BATCHES)],
            "image by image": lambda: [image_by_image(pool) for _ in range(BATCHES)],
        },
        rounds=15,
    )
    rates = {name: round(BATCH * BATCHES / value) for name, value in seconds.items()}
    protocol = {
        "data": "omniglot",
        "split": "vinyals",
        "episode": "5-way 1-shot, 15 queries",
        "batch": BATCH,
        "threads": 2,
    }
    metrics = {f"{name}, episodes per second": rate for name, rate in rates.items()}
    metrics["quickstudy / a bare gather"] = round(rates["quickstudy"] / rates["a bare gather"], 2)
    metrics["quickstudy / image by image"] = round(rates["quickstudy"] / rates["image by image"], 1)
    write("sampler", "Sampling 5-way 1-shot episodes with 15 queries", protocol, metrics)


if __name__ == "__main__":
    main()
