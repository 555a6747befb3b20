"""From labelled frames to arrays that training can use: labels, units, references, splits, fixed shapes."""

from jaxelyte.data.labels import LabelKeys, Labels, collect_labels, labels_of
from jaxelyte.data.references import References, fit_references
from jaxelyte.data.split import Split, split_frames

__all__ = [
    "LabelKeys",
    "Labels",
    "References",
    "Split",
    "collect_labels",
    "fit_references",
    "labels_of",
    "split_frames",
]
