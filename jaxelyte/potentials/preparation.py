"""The one way from a potential and systems to what is evaluated: checks of the whole, then of each term."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxelyte.errors import InputError
from jaxelyte.potentials.base import Potential, Scaled, Sum, Wrapper, terms_of
from jaxelyte.potentials.memory import check_memory
from jaxelyte.system import System


@runtime_checkable
class Trained(Protocol):
    """A network, with the identities of the terms of its baseline: it is right beside them only."""

    @property
    def requires(self) -> tuple[str, ...]:
        """Empty for a network of which nobody knows whether it was trained relative to a baseline."""
        ...


@runtime_checkable
class Assumed(Protocol):
    """A term in which something may have been left to a default that does not hold beside such a network."""

    def unstated(self) -> str:
        """The question for it; empty for none."""
        ...


def prepare_potential(potential: Potential, systems: System, strain: float = 0.0) -> Potential:
    """Check that the terms fit together, then prepare them; see `Potential.prepare`.

    Raises:
        InputError: terms that do not fit together, or a system that the potential cannot describe.
    """
    check_memory(potential)
    check_baselines(potential)
    return potential.prepare(systems, strain)


def check_baselines(potential: Potential) -> None:
    """Raise `InputError` for a network without the baseline of its training, or with a doubtful one."""
    if isinstance(potential, Wrapper) and not isinstance(potential, Sum):
        for child in potential.children:
            check_baselines(child)
        return
    terms = terms_of(potential)
    _check_stated(terms)
    for term in terms:
        if isinstance(term, Trained) and term.requires:
            _check_needed(term.requires, [other for other in terms if other is not term], alone=len(terms) == 1)
        elif isinstance(term, Wrapper):
            check_baselines(term)


def _check_stated(terms: tuple[Potential, ...]) -> None:
    """Raise `InputError` where a network that may lack its baseline stands beside a term with a value left open."""
    parts = [term.potential if isinstance(term, Scaled) else term for term in terms]
    questions = [term.unstated() for term in parts if isinstance(term, Assumed)]
    if any(isinstance(term, Trained) and not term.requires for term in parts) and any(questions):
        raise InputError(
            f"{next(filter(None, questions))}, that of the network's training. The model does not say which; published "
            "ones have 50, 72 or 78.3, and 1 is the vacuum"
        )


def _check_needed(needed: tuple[str, ...], others: list[Potential], *, alone: bool) -> None:
    """Raise `InputError` unless each needed term is there, once."""
    from jaxelyte.potentials.codec import identity

    if alone:
        raise InputError(
            f"this network was trained on labels less a baseline ({', '.join(needed)}) and is no force field without "
            "it; use the total potential of the fit or add the baseline, or call potential.without_baseline() to leave "
            "it out on purpose"
        )
    there = [identity(other) for other in others]
    for name in dict.fromkeys(needed):
        found, wanted = there.count(name), needed.count(name)
        if found == wanted:
            continue
        what = "is missing from" if found < wanted else f"stands {found} times in"
        held = ", ".join(there) or "nothing"
        raise InputError(
            f"a network of this sum was trained on labels less a baseline, and that baseline ({name}) {what} the sum, "
            f"which holds {held} beside the network; use the total potential of the fit, or "
            "potential.without_baseline() to leave the baseline out on purpose"
        )
