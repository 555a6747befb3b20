"""Settings and fixtures of all tests: float64, strict promotion, shape checks, reference data."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Before jax is imported: nothing in the tests may depend on a display or on preallocated GPU memory.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
# Compiled programs are kept between runs of the tests, also those of processes that tests start; small ones are faster
# to compile than to read.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import jax
import numpy as np
import pytest

import typecheck

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")

if os.environ.get("JAXELYTE_TYPECHECK", "1") != "0":
    typecheck.install()

try:
    from hypothesis import settings as hypothesis_settings

    # The first example compiles, so deadlines mean nothing; the same examples in every run.
    hypothesis_settings.register_profile("jaxelyte", deadline=None, derandomize=True, max_examples=20)
    hypothesis_settings.load_profile("jaxelyte")
except ImportError:
    pass


def pytest_report_header() -> str:
    """One line on what the tests run on."""
    checked = "on" if os.environ.get("JAXELYTE_TYPECHECK", "1") != "0" else "off"
    device = jax.devices()[0]
    return f"jax {jax.__version__} on {device.platform} ({device.device_kind}), float64, shape checks {checked}"


def shared_folder(*parts: str) -> Path:
    """A folder beside the repository, or a skipped test where it is absent."""
    folder = ROOT.parent.joinpath("shared", *parts)
    if not folder.is_dir():
        pytest.skip(f"data are absent: no folder ../{'/'.join(('shared', *parts))} beside the repository")
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def reference() -> Path:
    """Published potentials and results, ``../shared/reference``."""
    return shared_folder("reference")


@pytest.fixture(scope="session")
def dft_data() -> Path:
    """Frames with density functional labels, ``../shared/data``."""
    return shared_folder("data")


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator that starts alike in every test."""
    return np.random.default_rng(20_240_229)


@pytest.fixture
def fresh_programs() -> None:
    """No compiled chunk of an earlier test is used again, so that compilations can be counted."""
    from jaxelyte.dynamics.chunk import make_chunk

    make_chunk.cache_clear()
