"""Potentials on systems: lists that grow, and programs that all of one structure and shape share."""

from jaxelyte.evaluate.evaluator import Evaluator

__all__ = ["Evaluator"]
