"""Osmotic and activity coefficients of LiCl from a pair potential of mean force, beside experiment.

    python scripts/licl_theory.py pair_potential_short_range.dat licl_theory.png

The table holds r in Å and the short-range parts of the Li-Li, Li-Cl and Cl-Cl potentials in k_B T at 300 K, such as the
published one (Zhang et al., "Scalable molecular simulation of electrolyte solutions with quantum chemical accuracy").
The theory lives on the scale of McMillan and Mayer and per volume; experiment is molal and at constant pressure.
Conversion: molality from the apparent molar volume, φ times 1 - c V (Pailthorpe, Mitchell and Ninham, J. Chem. Soc.
Faraday Trans. 2 80, 115 (1984)), γ times c / (m ρ_water).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from jaxelyte.theory import PITZER, IonModel, debye_hueckel

VOLUME = 0.0186
"""L/mol, apparent molar volume of LiCl in water between 0.1 and 2.5 mol/L at 25 °C (17.0 at infinite dilution)."""

WATER = 0.99705
"""kg/L at 25 °C."""


def main() -> None:
    """Solve, print the table, draw."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    r, *tables = np.loadtxt(options.table).T
    pairs = (("Li", "Li"), ("Li", "Cl"), ("Cl", "Cl"))
    model = IonModel({"Li": 1.0, "Cl": -1.0}, short_range=(r, dict(zip(pairs, tables, strict=True))), temperature=300.0)
    results = model.hnc_curve([0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 1.4, 1.8, 2.2, 2.5])
    c = np.array([x.concentration for x in results])
    m = c / (WATER * (1.0 - c * VOLUME))
    osmotic = np.array([x.osmotic for x in results]) * (1.0 - c * VOLUME)
    activity = np.array([x.activity for x in results]) * c / (m * WATER)
    salt = PITZER["LiCl"]
    print("c/(mol/L)  m/(mol/kg)     φ   φ(experiment)    γ±  γ±(experiment)")
    for row in zip(c, m, osmotic, salt.osmotic(m), activity, salt.activity(m), strict=True):
        print("{:9.2f} {:11.2f} {:8.3f} {:12.3f} {:8.3f} {:12.3f}".format(*row))
    fine = np.linspace(1e-3, m[-1], 200)
    _, axes = plt.subplots(1, 2, figsize=(8.0, 3.2), dpi=150, layout="constrained")
    law = [debye_hueckel(x, temperature=300.0) for x in fine]
    for ax, found, known, limit, name in (
        (axes[0], osmotic, salt.osmotic(fine), [x.osmotic for x in law], "osmotic coefficient"),
        (axes[1], activity, salt.activity(fine), [x.activity for x in law], "mean activity coefficient"),
    ):
        ax.plot(fine, known, color="black", label="experiment (Pitzer)")
        ax.plot(m, found, "o-", color="#1f5a94", label="hypernetted chain, published potential")
        ax.plot(fine, limit, ":", color="#888888", label="Debye-Hückel limiting law")
        ax.set(xlabel="molality of LiCl / mol/kg", ylabel=name, ylim=(0.5, 1.5))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    plt.savefig(options.picture)


if __name__ == "__main__":
    main()
