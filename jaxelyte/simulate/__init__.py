"""Molecular dynamics: ensembles, the compiled chunk, the run loop."""

from jaxelyte.simulate.ensembles import NVE, NVT
from jaxelyte.simulate.minimize import minimize
from jaxelyte.simulate.run import Run, load_run
from jaxelyte.simulate.simulate import simulate

__all__ = ["NVE", "NVT", "Run", "load_run", "minimize", "simulate"]
