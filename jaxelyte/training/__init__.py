"""Training of potentials on labelled frames."""

from jaxelyte.training.evaluate import Evaluation, evaluate
from jaxelyte.training.fit import Fit, load_fit
from jaxelyte.training.run import train
from jaxelyte.training.settings import Loss, Optimization
from jaxelyte.training.stability import Stability, Trial, stability

__all__ = [
    "Evaluation",
    "Fit",
    "Loss",
    "Optimization",
    "Stability",
    "Trial",
    "evaluate",
    "load_fit",
    "stability",
    "train",
]
