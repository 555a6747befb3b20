"""Continuum theories of ions in a dielectric: what follows from potentials of mean force without a simulation."""

from jaxelyte.theory.electrolyte import PITZER, Pitzer, bjerrum_length, debye_hueckel, debye_length
from jaxelyte.theory.gibbs_duhem import ActivityCurve, activity_from_derivatives
from jaxelyte.theory.hnc import HNCResult
from jaxelyte.theory.ions import IonModel
from jaxelyte.theory.result import IonResult, PBResult
from jaxelyte.theory.scales import Molal, molal_scale

__all__ = [
    "PITZER",
    "ActivityCurve",
    "HNCResult",
    "IonModel",
    "IonResult",
    "Molal",
    "PBResult",
    "Pitzer",
    "activity_from_derivatives",
    "bjerrum_length",
    "debye_hueckel",
    "debye_length",
    "molal_scale",
]
