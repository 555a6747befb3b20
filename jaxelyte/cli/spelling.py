"""Messages of the library as a user of the command line reads them."""

from __future__ import annotations

import re

SPELLINGS = (
    (r"call load_nequip\(path, torchscript=True\)", "pass --torchscript (torchscript = true in a run file)"),
    (r"\b(resume|overwrite)=True", r"--\1"),
    (r"\bfit=\(from, to\)", "--fit from,to"),
    (r"\b(output|temperature|stretches|fit)=(…|(?=\s))", r"--\1"),
    (r"keys=LabelKeys\(energy=…, forces=…\)", "--energy and --forces (energy and forces in [data] of a training file)"),
    (
        r"keys=LabelKeys\((energy|forces|stress)=\('([^']*)', '([^']*)'\)\)",
        r'\1 = ["\2", "\3"] in [data] (jaxelyte evaluate: --\1 \2,\3)',
    ),
    (r"keys=LabelKeys\((energy|forces|stress)='([^']*)'\)", r'\1 = "\2" in [data] (jaxelyte evaluate: --\1 \2)'),
    (r"keys=LabelKeys\(virial='([^']*)'(, stress='[^']*')?\)", r'virial = "\1" in [data]'),
    (r"\bdrop_outliers=(True|False)", lambda m: f"drop_outliers = {m.group(1).lower()}"),
    (r"\bexclude=\[…\]", "exclude = […]"),
    (r"\bcheck_units=False", "check_units = false in [data]"),
    (r"\bminimize=True", "minimize = true in [run]"),
    (r"\bvelocities=(\d+\.?\d*)", r"velocities = \1"),
    (r" \(of open_trajectory, or of Trajectory\.from_atoms\)", ""),
    (r"\belements=\{([^}]*)\}", r"--elements (in a run or training file: elements = {…}) for \1"),
    (r"\b(interval|cell|units|topology|elements)='(\w+)'", r"--\1 \2"),
    (r"\b(interval|cell|units|topology|elements|format)=(…|(?=[\s,;:.)]|$))", r"--\1"),
    (r"\bvelocities='atoms'", 'velocities = "atoms" in [run]'),
)
"""Arguments of Python, as patterns, and the options or keys that say the same."""


def spelled(message: str) -> str:
    """The message with options in place of the arguments of Python."""
    for pattern, option in SPELLINGS:
        message = re.sub(pattern, option, message)
    return message
