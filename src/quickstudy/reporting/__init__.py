"""Result cards, plots, and the HTML report."""

from quickstudy.reporting.cards import Outcome, best_of, card, differences, read_card, verdict, write_card
from quickstudy.reporting.machine import machine
from quickstudy.reporting.plots import curves, task_picture
from quickstudy.reporting.report import tables, write_report

__all__ = [
    "Outcome",
    "best_of",
    "card",
    "curves",
    "differences",
    "machine",
    "read_card",
    "tables",
    "task_picture",
    "verdict",
    "write_card",
    "write_report",
]
