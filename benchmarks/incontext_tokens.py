"""Tokens per second of training the decoder, beside GPT-2's blocks of the library transformers in the same run.

64 tasks of linear regression in 8 dimensions with 20 examples and a query: 41 tokens a task, x₁ y₁ … x. Both have the
same width, layers, heads and positions, learn from the prediction at every input, in float32 with the same optimizer;
theirs reads the query as the end of the text, ours from φ of the text before it. And what keeping φ is worth: queries
answered in a second, one at a time, with the support read once or anew for each. The floor is what the matrix products
of our step would take by themselves.
"""

import argparse
import time
from collections.abc import Callable

import torch
from side_by_side import take_turns, write
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2Model

from quickstudy.learners import DecoderTransformer
from quickstudy.networks import Inputs
from quickstudy.tasks import Gaussian, TaskBatch, linear_functions

DIMENSIONS, SHOTS, HEADS = 8, 20, 4


class GPT2InContext(nn.Module):
    """The learner of Garg et al. on the blocks of transformers: −log p after every prefix, as ours."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        config = GPT2Config(
            vocab_size=1, n_positions=2 * SHOTS + 1, n_embd=width, n_layer=layers, n_head=HEADS, resid_pdrop=0.0,
            embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        self.blocks = GPT2Model(config)
        self.input, self.label = nn.Linear(DIMENSIONS, width), nn.Linear(1, width)
        self.output, self.likelihood = nn.Linear(width, 1), Gaussian()

    def forward(self, batch: TaskBatch) -> Tensor:
        x, y = (torch.cat([a, b], 1) for a, b in ((batch.support.x, batch.query.x), (batch.support.y, batch.query.y)))
        tokens = torch.stack([self.input(x), self.label(y[..., None])], 2).flatten(1, 2)[:, :-1]
        read = self.blocks(inputs_embeds=tokens).last_hidden_state
        return -self.likelihood.distribution(self.output(read[:, ::2])).log_prob(y).mean(1)


def ours(width: int, layers: int) -> DecoderTransformer:
    return DecoderTransformer(Inputs(DIMENSIONS), Gaussian(), width, layers, HEADS, positions=SHOTS + 1)


def training(module: nn.Module, called: Callable[[TaskBatch], Tensor], batch: TaskBatch) -> Callable[[], None]:
    """A training step."""
    optimizer = Adam(module.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        called(batch).mean().backward()
        optimizer.step()

    return step


def check_same(modules: dict[str, nn.Module], batch: TaskBatch) -> None:
    """That all of them do what is compared: a loss of every task that depends on every example, and as many weights."""
    sizes = {name: sum(p.numel() for p in module.parameters()) for name, module in modules.items()}
    assert max(sizes.values()) < 1.1 * min(sizes.values()), sizes
    for module in modules.values():
        asked = batch.map(lambda leaf: leaf.clone().requires_grad_() if leaf.is_floating_point() else leaf)
        loss = module(asked)
        assert loss.shape == (batch.tasks,)
        gradient = torch.autograd.grad(loss.sum(), [asked.support.x, asked.support.y, asked.query.x])
        assert all((part != 0).flatten(2).any(2).all() for part in gradient if part.ndim > 2)
        assert (gradient[1] != 0).all()


@torch.no_grad()
def answers_per_second(learner: DecoderTransformer, batch: TaskBatch, questions: int) -> dict[str, float]:
    """Queries of one task, one at a time."""
    task, asked = batch[0], torch.randn(questions, 1, 1, DIMENSIONS)
    phi = learner.eval().adapt(task.support)
    ways = {
        "with φ": lambda x: learner.predict(phi, x).mean,
        "reading anew": lambda x: learner.predict(learner.adapt(task.support), x).mean,
    }
    for x in asked[:3]:
        torch.testing.assert_close(ways["with φ"](x), ways["reading anew"](x))
    found = {}
    for name, way in ways.items():
        start = time.perf_counter()
        for x in asked:
            way(x)
        found[name] = questions / (time.perf_counter() - start)
    return found


def matrix_products_alone(step: Callable[[], None], tokens: int, width: int, rounds: int) -> float:
    """Seconds that the multiplications of a step would take at the rate of one large product of its widest layer."""
    with FlopCounterMode(display=False) as counter:
        step()
    a, b = torch.randn(tokens, width), torch.randn(width, 4 * width)
    seconds = take_turns({"product": lambda: a @ b}, rounds)["product"]
    return counter.get_total_flops() * seconds / (2 * tokens * width * 4 * width)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few tasks and rounds, a small network; no card")
    parser.add_argument("--eager", action="store_true", help="leave out what is compiled; no card")
    arguments = parser.parse_args()
    quick, eager = arguments.quick, arguments.eager
    torch.set_num_threads(1 if quick else 2)
    torch.manual_seed(0)
    tasks, rounds, width, layers, questions = (4, 2, 32, 1, 20) if quick else (64, 15, 128, 4, 500)
    batch = linear_functions(DIMENSIONS, SHOTS, queries=1).train.draw(0, tasks, 0)
    modules: dict[str, nn.Module] = {"quickstudy": ours(width, layers), "transformers": GPT2InContext(width, layers)}
    check_same(modules, batch)
    steps = {f"{name}, eager": training(module, module, batch) for name, module in modules.items()}
    if not eager:
        for name, module in modules.items():
            compiled = torch.compile(module, dynamic=False)
            steps[f"{name}, compiled"] = training(module, compiled, batch)
    seconds = take_turns(steps, rounds)
    tokens = tasks * (2 * SHOTS + 1)
    floor = matrix_products_alone(steps["quickstudy, eager"], tokens, width, 10 * rounds)
    metrics: dict[str, float] = {f"{name}, tokens per second": round(tokens / s) for name, s in seconds.items()}
    for how in ("eager",) if eager else ("eager", "compiled"):
        ratio = seconds[f"transformers, {how}"] / seconds[f"quickstudy, {how}"]
        metrics[f"quickstudy / transformers, {how}"] = round(ratio, 2)
    for name, taken in seconds.items():
        metrics[f"{name}, percent of a step that its matrix products alone would take"] = round(100 * floor / taken)
    for name, count in answers_per_second(ours(width, layers), batch, questions).items():
        metrics[f"quickstudy, predictions per second {name}"] = round(count)
    protocol = {
        "data": "linear functions", "dimensions": DIMENSIONS, "tasks": tasks, "shots": SHOTS, "queries": 1,
        "width": width, "layers": layers, "heads": HEADS, "threads": torch.get_num_threads(), "precision": "float32",
    }  # fmt: skip
    claim = "Training a decoder in context on tokens x₁ y₁ x₂ y₂ …, beside GPT-2's blocks of `transformers`"
    write("incontext-tokens", claim, protocol, metrics, keep=not (quick or eager))


if __name__ == "__main__":
    main()
