"""Potentials that come with the package, and published ones: a table, and each as something to simulate with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxelyte.errors import InputError
from jaxelyte.interop.nequip_files import BASELINE, load_nequip
from jaxelyte.interop.potential_files import read_potential
from jaxelyte.interop.published import Source, source_of
from jaxelyte.interop.shipped import CARD, HOME, is_shipped, located, member_folders, no_model, read_card, shipped_names
from jaxelyte.potentials.barrier import GaussianBarrier
from jaxelyte.potentials.base import Potential
from jaxelyte.potentials.codec import identities
from jaxelyte.potentials.coulomb import ScreenedCoulomb
from jaxelyte.potentials.nequip import NequIPPotential
from jaxelyte.storage import read_json
from jaxelyte.training import Fit, load_fit

TRAINING = "training.json"
"""What a network's training was, in its folder: settings, split and digests of the frames, errors of the best epoch.
Without it the network lies in the folder of its training."""


@dataclass(frozen=True, eq=False)
class ShippedPotential:
    """A committee of networks with their baseline and barrier. Used as a potential, it stands for `potential`.

    Attributes:
        name: name of its folder.
        card: the content of ``card.json``: level of theory, recipe, errors, stability, limits, licence.
        networks: the bare networks, which need `baseline`.
        baseline: the potential that was subtracted from the labels.
        barrier: a term, added after training, that keeps simulations within the range of the training frames; or None.
        homes: the folder of each network.
    """

    name: str
    card: dict[str, Any]
    networks: tuple[NequIPPotential, ...]
    baseline: Potential
    barrier: Potential | None
    homes: tuple[Path, ...]

    @cached_property
    def members(self) -> tuple[Potential, ...]:
        """Complete potentials, one for each network: network + baseline + barrier."""
        return tuple(network + self._added for network in self.networks)

    @property
    def potential(self) -> Potential:
        """The first of `members`."""
        return self.members[0]

    total = potential

    @property
    def committee(self) -> Fit:
        """All networks, for `evaluate`: their mean, with the spread between them. The barrier is part of it."""
        return self._fit(self._added)

    @property
    def fit(self) -> Fit:
        """The networks as they came from training, without the barrier: for `train`, which goes on from the first."""
        return self._fit(self.baseline)

    @property
    def _added(self) -> Potential:
        return self.baseline if self.barrier is None else self.baseline + self.barrier

    def _fit(self, baseline: Potential) -> Fit:
        home = self.homes[0]
        if self.card.get("published"):
            return Fit(self.networks, baseline, [], {})
        if (home / TRAINING).is_file():
            stored = read_json(home / TRAINING)
            return Fit(self.networks, baseline, stored["metrics"], stored["config"])
        trained = load_fit(home.parent)
        return Fit(self.networks, baseline, trained.metrics, trained.config)

    def __repr__(self) -> str:
        many = f"committee of {len(self.networks)}" if len(self.networks) > 1 else "one network"
        return f"ShippedPotential({self.name}: {self.card['system']}; {self.card['level_of_theory']}; {many})"


@dataclass(frozen=True)
class Potentials:
    """The included potentials; prints as a table.

    Attributes:
        cards: of each, by name.
    """

    cards: dict[str, dict[str, Any]]

    @property
    def names(self) -> tuple[str, ...]:
        """What `load` takes."""
        return tuple(self.cards)

    def __iter__(self) -> Iterator[str]:
        return iter(self.cards)

    def __len__(self) -> int:
        return len(self.cards)

    def __getitem__(self, name: str) -> dict[str, Any]:
        if name not in self.cards:
            raise InputError(str(no_model(name, "potential")))
        return self.cards[name]

    def table(self) -> Any:
        """The table, for `rich`."""
        from rich.table import Table

        table = Table(title="potentials that come with jaxelyte", show_lines=True)
        for column in ("name", "system, level of theory", "errors", "stability", "licence, citation"):
            table.add_column(column, no_wrap=column == "name", overflow="fold")
        for name, card in self.cards.items():
            system, level, errors, stability, licence, citation = (card["summary"].get(k) or card[k] for k in SUMMARY)
            table.add_row(name, f"{system}\n{level}", errors, stability, f"{licence}\n{citation}")
        return table

    def __repr__(self) -> str:
        from io import StringIO

        from rich.console import Console

        text = StringIO()
        Console(file=text, width=120).print(self.table())
        return text.getvalue()


SUMMARY = ("system", "level_of_theory", "errors", "stability", "licence", "citation")
"""What the table holds: the short form in a card's ``summary`` where it has one."""


def potentials() -> Potentials:
    """The included potentials: system, level of theory, errors, stability, licence and citation."""
    return Potentials({name: read_card(HOME / name) for name in shipped_names()})


def load(name: str | os.PathLike[str]) -> ShippedPotential:
    """Load a complete potential: network, Coulomb term, and barrier if it has one.

    Args:
        name: one of `potentials`, or a single network of it (``nacl_r2scan/member1``); a published potential that
            `jaxelyte fetch` has downloaded (``licl``), or its folder; or a folder with ``card.json`` and the layout of
            the included potentials.

    Raises:
        InputError: an unknown name, or a folder with other contents.

    Warns:
        UserWarning: the current directory contains a folder with the name of an included potential; the folder is used.
    """
    folder = located(name)
    if not folder.exists():
        raise no_model(name, "potential")
    source = None if is_shipped(folder) else source_of(folder)
    if source is not None:
        return _published(folder, source)
    home = folder if is_shipped(folder) else folder.parent
    chosen = tuple(one for one in member_folders(home) if folder in (home, one)) if is_shipped(home) else ()
    if not chosen:
        from jaxelyte.interop.foreign_models import describe

        found = describe(folder)
        raise InputError(f"{folder} holds no {CARD}: it is {found.what}; {found.remedy}")
    card = read_card(home)
    barrier = GaussianBarrier(**card["barrier"]["parameters"]) if card.get("barrier") else None
    networks = tuple(load_nequip(one) for one in chosen)
    known = home.name if folder == home else f"{home.name}/{folder.relative_to(home)}"
    return ShippedPotential(known, card, networks, read_potential(chosen[0], BASELINE), barrier, chosen)


def _published(folder: Path, source: Source) -> ShippedPotential:
    """A published network with the terms that it was trained and run with."""
    baseline = ScreenedCoulomb(source.charges, permittivity=source.permittivity)
    network = replace(load_nequip(folder), requires=identities(baseline))
    barrier = None if source.barrier is None else GaussianBarrier(**source.barrier)
    card = {
        "name": source.name,
        "system": source.what,
        "level_of_theory": "see the publication",
        "baseline": {"term": "ScreenedCoulomb", "charges_e": source.charges, "permittivity": source.permittivity},
        "barrier": None if barrier is None else {"term": "GaussianBarrier", "parameters": source.barrier},
        "limits": [source.note] if source.note else [],
        "licence": source.licence,
        "citation": [f"{source.citation} ({source.repository}, commit {source.commit[:8]})"],
        "members": [{"folder": "."}],
        "published": True,
    }
    return ShippedPotential(source.name, card, (network,), baseline, barrier, (folder,))
