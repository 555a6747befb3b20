"""Continuum theories of ions in a dielectric: what follows from potentials of mean force without a simulation."""

from jaxelyte.theory.electrolyte import PITZER, Pitzer, bjerrum_length, debye_hueckel, debye_length
from jaxelyte.theory.hnc import HNCResult, IonModel

__all__ = ["PITZER", "HNCResult", "IonModel", "Pitzer", "bjerrum_length", "debye_hueckel", "debye_length"]
