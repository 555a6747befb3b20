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


class Published(type(Path())):
    """A folder of published data; what is below it is looked for in every place, and skips the test where absent."""

    def __truediv__(self, name: str) -> Published:
        from jaxelyte.interop.published import data_folders

        inside = next(self.relative_to(folder) for folder in data_folders() if self.is_relative_to(folder))
        return published_folder(*inside.parts, name)


def published_folder(*parts: str) -> Published:
    """A file or folder of published data, or a skipped test where it is absent."""
    from jaxelyte.interop.published import find_published

    found = find_published(*parts)
    if found is None:
        pytest.skip(
            f"published data are absent: {'/'.join(parts)} (`jaxelyte fetch`, or ../shared beside the repository)"
        )
    return Published(found)


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def reference() -> Path:
    """Published potentials and results, ``reference`` in a folder of published data."""
    return published_folder("reference")


@pytest.fixture(scope="session")
def dft_data() -> Path:
    """Frames with density functional labels, ``data`` in a folder of published data."""
    return published_folder("data")


@pytest.fixture
def rng() -> np.random.Generator:
    """A random generator that starts alike in every test."""
    return np.random.default_rng(20_240_229)


@pytest.fixture
def fresh_programs() -> None:
    """No program of an earlier test is used again, nor the length of its lists, so that compilations can be counted."""
    import jax

    from jaxelyte.dynamics.chunk import make_chunk
    from jaxelyte.neighbors.kept import _known_rooms

    jax.clear_caches()
    make_chunk.cache_clear()
    _known_rooms.cache_clear()
