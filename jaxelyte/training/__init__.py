"""Training of potentials on labelled frames."""

from jaxelyte.training.evaluate import Evaluation, evaluate
from jaxelyte.training.fit import Fit, load_fit
from jaxelyte.training.run import train
from jaxelyte.training.settings import Loss, Optimization

__all__ = ["Evaluation", "Fit", "Loss", "Optimization", "evaluate", "load_fit", "train"]
