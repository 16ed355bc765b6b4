"""Scores over tasks with intervals, paired comparison, adaptation step by step, failure probes, what is best possible,
and what steps cost."""

from quickstudy.evaluation.adaptation import Adaptation, Course, inspect_adaptation
from quickstudy.evaluation.autoregressive import Feeding, evaluate_jointly, joint_log_prob, sample_jointly
from quickstudy.evaluation.embedded import Kept
from quickstudy.evaluation.evaluate import Scores, evaluate, same_tasks, summarize
from quickstudy.evaluation.gaussian_process_oracle import GaussianProcessOracle
from quickstudy.evaluation.gradient_cosines import gradient_cosines
from quickstudy.evaluation.grouping import grouping, mean_gain
from quickstudy.evaluation.intervals import Interval, interval
from quickstudy.evaluation.linear_oracle import LinearOracle
from quickstudy.evaluation.memory import peak_memory
from quickstudy.evaluation.meta_gradients import MetaGradientError, meta_gradient, meta_gradient_error
from quickstudy.evaluation.metrics import HIGHER_IS_BETTER, calibration_error, task_metrics
from quickstudy.evaluation.oracles import SinusoidOracle
from quickstudy.evaluation.paired import Difference, compare
from quickstudy.evaluation.probes import Probe, probe
from quickstudy.evaluation.ranking import ndcg, reciprocal_rank
from quickstudy.evaluation.relative import mean_relative_change, relative_change
from quickstudy.evaluation.reliability import reliability
from quickstudy.evaluation.scores_file import load_scores, save_scores
from quickstudy.evaluation.sharing import SharingReport, company_folder, sharing_report, sharing_verdict
from quickstudy.evaluation.task_affinity import task_affinity
from quickstudy.evaluation.watched import Watched

__all__ = [
    "HIGHER_IS_BETTER",
    "Adaptation",
    "Course",
    "Difference",
    "Feeding",
    "GaussianProcessOracle",
    "Interval",
    "Kept",
    "LinearOracle",
    "MetaGradientError",
    "Probe",
    "Scores",
    "SharingReport",
    "SinusoidOracle",
    "Watched",
    "calibration_error",
    "company_folder",
    "compare",
    "evaluate",
    "evaluate_jointly",
    "gradient_cosines",
    "grouping",
    "inspect_adaptation",
    "interval",
    "joint_log_prob",
    "load_scores",
    "mean_gain",
    "mean_relative_change",
    "meta_gradient",
    "meta_gradient_error",
    "ndcg",
    "peak_memory",
    "probe",
    "reciprocal_rank",
    "relative_change",
    "reliability",
    "same_tasks",
    "sample_jointly",
    "save_scores",
    "sharing_report",
    "sharing_verdict",
    "summarize",
    "task_affinity",
    "task_metrics",
]
