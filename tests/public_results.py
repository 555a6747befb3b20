"""Methods of results, pictures, LAMMPS, structures: right calls, and the kind of each argument; see `public_calls`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import jaxelyte as jxl
from jaxelyte import plots, theory
from jaxelyte.system import System
from public_analyses import CELL, CURVES, DECAYING, DIFFUSING, FIT, NAMED, PAIR, PRESSURES, SLICE
from public_calls import ARGON, LJ, TEMPERATURE, Call
from wrong_values import NAN, Kind, array, choice, count, flag, number, path, structure

AXES = Kind(("ax", "", 5, True, [], {}, NAN), optional=True)
RESULT = Kind(("result", "", 5, True, [], {}, NAN, np.zeros(3), ARGON))
PATH = Kind(("", 5, 0.5, True, [], {}, NAN))
ANGLES = jxl.AnglesResult(
    ("Cl", "Na", "Cl"),
    (4.0, 4.0),
    np.linspace(0, 180, 11),
    np.full(10, 1 / 180),
    np.full(10, 1e-4),
    90.0,
    0.1,
    2.0,
    0,
    9,
    1,
)
WAVES = jxl.StructureFactorResult(
    species=("Na", "Cl"),
    counts=np.array([8.0, 8.0]),
    pairs=(("Na", "Na"), ("Na", "Cl"), ("Cl", "Cl")),
    k=np.arange(1.0, 9.0),
    edges=np.stack([np.arange(8.0), np.arange(1.0, 9.0)], axis=1),
    vectors=np.ones(8),
    value=np.ones((3, 8)),
    error=np.full((3, 8), 0.1),
    weighting=None,
    total=None,
    total_error=None,
    mean_factor=None,
    samples=10,
    replicas=1,
    stretches=np.ones((8, 3, 8)),
)
INTEGRALS = jxl.kirkwood_buff(CURVES)
FORCES = jxl.pmf(PAIR, 300.0)
STAYING = jxl.ResidenceResult(
    "Na",
    "Cl",
    4.0,
    0.0,
    100.0,
    1.0,
    100.0,
    1.0,
    2.0,
    0.1,
    (10.0, 90.0),
    1.0,
    0.0,
    *(np.linspace(1, 0.1, 9),) * 5,
    1e3,
    1,
)
EVALUATION = jxl.Evaluation(
    symbols=np.array(["Ar"] * 4),
    frame_of=np.zeros(4, int),
    energies=np.array([[-0.1, -0.1]]),
    forces=np.zeros((4, 3, 2)),
    stresses=np.full((1, 3, 3, 2), NAN),
    sizes=np.array([4]),
    formulas=np.array(["Ar4"]),
    force_spread=None,
    energy_spread=None,
)
IONS = theory.IonModel({"Na": 1.0, "Cl": -1.0}, 4.0)
CHAIN = theory.HNCResult(0.1, ("Na", "Cl"), np.linspace(0.1, 9, 50), np.ones((2, 2, 50)), 0.95, 0.8, 0.9, 1e-9)
DRAWN: dict[str, Any] = {
    "rdf": CURVES,
    "rdf_panels": CURVES,
    "running_integrals": INTEGRALS,
    "msd": DIFFUSING,
    "vacf": DECAYING,
    "correlations": CHAIN,
    "pmf": FORCES,
    "series": PRESSURES[:100],
    "structure_factor": WAVES,
    "angles": ANGLES,
    "residence": STAYING,
}
ONLY_WRONG = (
    "conductivity", "convergence", "diffusivity", "free_energy", "learning", "log", "metadynamics", "observables_fit",
    "parity",
    "spread", "stability", "umbrella", "viscosity",
)  # fmt: skip


ARGON_FILE = Path(__file__).parents[1] / "examples" / "argon.extxyz"
READING = {
    "format": choice(none=True),
    "topology": path(none=True),
    "cell": Kind(("abc", 5, True, {}, [1.0, 2.0], [NAN] * 3, [0.0] * 3, [-5.0] * 3, np.zeros((3, 3))), optional=True),
    "units": choice(none=True),
    "elements": Kind(("Ar", 5, True, [5], {"Xx": "Ar"}, {"Ar": "Xx"}, {"Ar": 5}, {1.5: "Ar"}), optional=True),
}


def cp2k(**options: Any) -> Any:
    """Read a trajectory of CP2K that is written first."""
    rows = "".join(f"  2\n i = {i}, time = {i}.0, E = -1.0\nNa 0 0 0\nCl 0 0 2.5\n" for i in range(2))
    Path("run-pos-1.xyz").write_text(rows)
    return jxl.read_cp2k("run-pos-1.xyz", **options)


def starts_lammps(argument: Any) -> None:
    """One argument of its command line."""
    jxl.open_lammps(argument)


class Drawn:
    """A right call of a picture draws it; the figure is closed."""

    def __init__(self, picture: Any) -> None:
        self.picture = picture

    def __call__(self, **arguments: Any) -> None:
        import matplotlib as mpl

        mpl.use("Agg")
        import matplotlib.pyplot as plt

        try:
            self.picture(**arguments)
        finally:
            plt.close("all")


PICTURES = {
    f"plots.{name}": Call(Drawn(getattr(plots, name)), {"result": result}, {"result": RESULT, "ax": AXES})
    for name, result in DRAWN.items()
} | {
    f"plots.{name}": Call(lambda one, name=name: getattr(plots, name)(one), {}, {"one": RESULT}) for name in ONLY_WRONG
}  # fmt: skip
del PICTURES["plots.rdf_panels"].kinds["ax"]  # it has a figure of its own
for _name, _argument in (("rdf", "coordination"), ("angles", "relative")):
    PICTURES[f"plots.{_name}"].kinds[_argument] = flag()
PICTURES["plots.correlations"].kinds["r_max"] = number()
PICTURES["plots.structure_factor"].kinds["partials"] = Kind(flag().values, optional=True)

FILES = {
    f"{type(one).__name__}.{name}": Call(getattr(one, name), {"path": f"result.{name}"}, {"path": PATH})
    for one in (CURVES, PRESSURES[:50], DIFFUSING, DECAYING, ANGLES, WAVES, INTEGRALS, FORCES, STAYING)
    for name in ("to_csv", "to_json")
    if hasattr(one, name)
}

RESULTS: dict[str, Call] = {
    "RDFResult[…]": Call(CURVES.__getitem__, {"pair": "Na-Cl"}, {"pair": NAMED}),
    "RDFResult.first_peak": Call(PAIR.first_peak, {}, {"beyond": number(90.0, zero=True)}),
    "RDFResult.first_minimum": Call(PAIR.first_minimum, {}, {"beyond": number(90.0, zero=True)}),
    "RDFResult.coordination_at": Call(PAIR.coordination_at, {"radius": 4.0}, {"radius": number(99.0, zero=True)}),
    "open_trajectory(file)": Call(
        jxl.open_trajectory,
        {"path": ARGON_FILE},
        {"path": path(), "interval": number(1e-12, none=True), **READING},
    ),
    "read(file)": Call(
        jxl.read,
        {"path": ARGON_FILE},
        {"path": path(), "index": Kind(("abc", "", 0.5, True, [], {}, NAN, 99, "99", "5:9", (0, 1), None)), **READING},
    ),
    "read_cp2k(file)": Call(
        cp2k,
        {"cell": [12.0] * 3},
        {
            "forces": path(none=True),
            "cell": Kind(("", "/nowhere", True, {}, 0.0, -5.0, NAN, [1.0, 2.0], np.zeros((3, 3)), 1e30), optional=True),
            "kinds": Kind(("Na", 5, True, [5], {"Na": 5}, {"Na": "Xx"}, {5: "Na"}), optional=True),
            "index": Kind(("abc", "", 0.5, True, [], {}, NAN, 99, "99", "5:9", None)),
        },
    ),
    "several pairs at once": Call(
        lambda name: getattr(CURVES, name)(),
        {},
        {"name": Kind(("first_peak", "first_minimum"), optional=True, general=False)},
    ),
    "StructureFactorResult[…]": Call(WAVES.__getitem__, {"pair": "Na-Cl"}, {"pair": NAMED}),
    "StructureFactorResult.weighted": Call(
        WAVES.weighted,
        {"weighting": "x-ray"},
        {
            "weighting": choice("X-ray"),
            "scatterers": Kind(
                ("Na+", 5, True, [1], {5: "Na+"}, {"Na": 5}, {"Na": "Xx"}, {"Li": "Li+"}), optional=True
            ),
        },
    ),
    "KirkwoodBuffResult[…]": Call(INTEGRALS.__getitem__, {"pair": "Cl-Na"}, {"pair": NAMED}),
    "SeriesResult[…]": Call(PRESSURES.__getitem__, {"samples": slice(5, None)}, {"samples": SLICE}),
    "MSDResult.from_arrays": Call(
        jxl.MSDResult.from_arrays,
        {"lags": np.arange(9.0), "msd": np.arange(9.0), "species": "Na", "cell": 20.0, "temperature": 300.0},
        {
            "lags": array(np.arange(8.0), np.arange(9.0)[::-1], np.zeros(9), -np.arange(9.0)[::-1], np.zeros((3, 3))),
            "msd": array(np.arange(8.0), -np.arange(9.0), np.full(9, NAN)),
            "species": Kind((5, "", True, [], {}, NAN)),
            "cell": CELL,
            "temperature": TEMPERATURE._replace(optional=True),
        },
    ),
    "MSDResult.diffusivity": Call(
        DIFFUSING.diffusivity,
        {},
        {"fit": FIT, "viscosity": number(0.89, none=True), "temperature": TEMPERATURE._replace(optional=True)},
    ),
    "VACFResult.diffusivity": Call(DECAYING.diffusivity, {}, {"until": number(0.1, 1e5, none=True)}),
    "VACFResult.density_of_states": Call(DECAYING.density_of_states, {}, {"width": number(1e30)}),
    "ResidenceResult.fitted": Call(STAYING.fitted, {"times": [1.0, 2.0]}, {"times": array()}),
    "Evaluation.worst": Call(EVALUATION.worst, {"count": 1}, {"count": count(zero=True)}),
    "IonModel.hnc_curve": Call(
        IONS.hnc_curve,
        {"concentrations": [0.1]},
        {"concentrations": array([-0.1], [1000.0], 0.1, [[0.1]]), "step": number(10.0)},
    ),
    "IonModel.poisson_boltzmann": Call(
        IONS.poisson_boltzmann, {"concentration": 0.1}, {"concentration": number(1000.0), "step": number(10.0)}
    ),
    "Pitzer.osmotic": Call(theory.PITZER["NaCl"].osmotic, {"molality": 1.0}, {"molality": array(-1.0, 1e4)}),
    "IonModel.hnc": Call(
        IONS.hnc,
        {"concentration": 0.1},
        {"concentration": number(1000.0), "step": number(10.0), "points": count(4, 10**8, none=True)},
    ),
    "System.from_atoms": Call(
        System.from_atoms,
        {"atoms": ARGON},
        {"atoms": structure(), "dtype": Kind(("abc", 5, True, [], {}), optional=True)},
    ),
    "Calculator.calculate": Call(lambda atoms: jxl.Calculator(LJ).calculate(atoms), {}, {"atoms": structure()}),
    "attach_lammps": Call(
        lambda lmp: jxl.attach_lammps(LJ, lmp, species=("Ar",)),
        {},
        {"lmp": Kind(("lmp", 5, True, [], {}, NAN))},
    ),
    "open_lammps": Call(starts_lammps, {}, {"argument": Kind((5, True, [], {}, NAN, ["-log"]))}),
    "plots.new_axes": Call(plots.new_axes, {}, {"ax": AXES._replace(optional=True)}),
    **PICTURES,
    **FILES,
}
"""What is done with results."""
