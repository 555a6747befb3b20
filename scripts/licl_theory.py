"""Osmotic and activity coefficients of LiCl from a pair potential of mean force, beside experiment.

    python scripts/licl_theory.py pair_potential_short_range.dat licl_theory.png

The table holds r in Å and the short-range parts of the Li-Li, Li-Cl and Cl-Cl potentials in k_B T at 300 K, such as the
published one (Zhang et al., "Scalable molecular simulation of electrolyte solutions with quantum chemical accuracy").
Three theories of one model: the hypernetted chain, the Poisson-Boltzmann equation, and its modification. They live on
the scale of McMillan and Mayer; experiment is molal and at constant pressure, see `jaxelyte.theory.scales`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from jaxelyte.theory import PITZER, IonModel, debye_hueckel, molal_scale

VOLUME = 0.0186
"""L/mol, apparent molar volume of LiCl in water between 0.1 and 2.5 mol/L at 25 °C (17.0 at infinite dilution)."""

CONCENTRATIONS = [0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 1.4, 1.8, 2.2, 2.5]
"""mol/L"""

STYLES = {
    "hypernetted chain": {"marker": "o", "color": "#1f5a94"},
    "modified Poisson-Boltzmann": {"marker": "s", "color": "#c2571a", "markersize": 4},
    "Poisson-Boltzmann": {"marker": "^", "color": "#5b8c3a", "markersize": 4},
}


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
    theories = {
        "hypernetted chain": model.hnc_curve(CONCENTRATIONS),
        "modified Poisson-Boltzmann": model.modified_poisson_boltzmann_curve(CONCENTRATIONS),
        "Poisson-Boltzmann": model.poisson_boltzmann_curve(CONCENTRATIONS),
    }
    found = {
        name: molal_scale(
            np.array(CONCENTRATIONS), [x.osmotic for x in results], [x.activity for x in results], volume=VOLUME
        )
        for name, results in theories.items()
    }
    m = found["hypernetted chain"].molality
    salt = PITZER["LiCl"]
    columns = [x for one in found.values() for x in (one.osmotic, one.activity)]
    print("c/(mol/L)  m/(mol/kg)  φ, γ± by experiment;  " + ";  ".join(found))
    for row in zip(CONCENTRATIONS, m, salt.osmotic(m), salt.activity(m), *columns, strict=True):
        print("{:9.2f} {:11.2f}    {}".format(row[0], row[1], " ".join(f"{x:7.3f}" for x in row[2:])))
    fine = np.linspace(1e-3, m[-1], 200)
    _, axes = plt.subplots(1, 2, figsize=(8.0, 3.2), dpi=150, layout="constrained")
    law = [debye_hueckel(x, temperature=300.0) for x in fine]
    for ax, name, known, limit, label in (
        (axes[0], "osmotic", salt.osmotic(fine), [x.osmotic for x in law], "osmotic coefficient"),
        (axes[1], "activity", salt.activity(fine), [x.activity for x in law], "mean activity coefficient"),
    ):
        ax.plot(fine, known, color="black", label="experiment (Pitzer)")
        for theory, style in STYLES.items():
            ax.plot(m, getattr(found[theory], name), linewidth=1.2, label=theory, **style)
        ax.plot(fine, limit, ":", color="#888888", label="Debye-Hückel limiting law")
        ax.set(xlabel="molality of LiCl / mol/kg", ylabel=label, ylim=(0.5, 1.5))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    plt.savefig(options.picture)


if __name__ == "__main__":
    main()
