"""Result cards, figures, and the HTML report."""

from quickstudy.reporting.adaptation import (
    adaptation_panels,
    draw_gradients,
    draw_layer_steps,
    draw_layers,
    draw_steps,
)
from quickstudy.reporting.attention import draw_attention
from quickstudy.reporting.cards import Outcome, best_of, card, differences, entries, read_card, verdict, write_card
from quickstudy.reporting.comparison import SeveralRuns, compare_runs, complete
from quickstudy.reporting.cosines import cosine_panels, final_cosine_panel
from quickstudy.reporting.deltas import delta_panels
from quickstudy.reporting.episodes import Episode, draw_episode
from quickstudy.reporting.fits import draw_fits, one_dimensional
from quickstudy.reporting.gates import gate_panels
from quickstudy.reporting.headline import Headline, headline
from quickstudy.reporting.heat import heat_panel
from quickstudy.reporting.machine import machine
from quickstudy.reporting.report import write_report
from quickstudy.reporting.saved import SavedRun, open_run, run_folder
from quickstudy.reporting.sharing import sharing_panels
from quickstudy.reporting.svg import Panel
from quickstudy.reporting.tables import tables

__all__ = [
    "Episode",
    "Headline",
    "Outcome",
    "Panel",
    "SavedRun",
    "SeveralRuns",
    "adaptation_panels",
    "best_of",
    "card",
    "compare_runs",
    "complete",
    "cosine_panels",
    "delta_panels",
    "differences",
    "draw_attention",
    "draw_episode",
    "draw_fits",
    "draw_gradients",
    "draw_layer_steps",
    "draw_layers",
    "draw_steps",
    "entries",
    "final_cosine_panel",
    "gate_panels",
    "headline",
    "heat_panel",
    "machine",
    "one_dimensional",
    "open_run",
    "read_card",
    "run_folder",
    "sharing_panels",
    "tables",
    "verdict",
    "write_card",
    "write_report",
]
