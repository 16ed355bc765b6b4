"""quickstudy: learning across tasks with PyTorch.

characters = quickstudy.tasks.glyphs().episodes(ways=5, shots=1, queries=15)
learner = quickstudy.learners.PrototypicalNetwork(quickstudy.networks.Conv4(channels=1))
quickstudy.fit(learner, characters.train, steps=500)
print(quickstudy.evaluate(learner, characters.test))
"""

from quickstudy import estimators, evaluation, learners, multitask, networks, tasks, training
from quickstudy.evaluation import compare, evaluate
from quickstudy.rebuild import load, register, registered, save
from quickstudy.tasks import Examples, TaskBatch
from quickstudy.training import fit

__version__ = "0.1.0"

__all__ = [
    "Examples",
    "TaskBatch",
    "__version__",
    "compare",
    "estimators",
    "evaluate",
    "evaluation",
    "fit",
    "learners",
    "load",
    "multitask",
    "networks",
    "register",
    "registered",
    "save",
    "tasks",
    "training",
]
