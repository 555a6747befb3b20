"""Molecular dynamics: ensembles, the compiled chunk, the run loop."""

from jaxelyte.dynamics.ensembles import NPT, NVE, NVT
from jaxelyte.dynamics.minimize import minimize
from jaxelyte.dynamics.run import Run, load_run
from jaxelyte.dynamics.simulate import simulate

__all__ = ["NPT", "NVE", "NVT", "Run", "load_run", "minimize", "simulate"]
