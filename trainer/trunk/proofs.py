"""Remembers what the checks of opened trunks have found, in memory and in files for other processes of the machine."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pydantic import TypeAdapter

from trainer.trunk.entry import FileVersion
from trainer.trunk.trunk import Form

MAX_PROOFS = 1_000
"""How many makes of models are remembered, some kilobytes for each."""


@dataclass(frozen=True)
class Proof:
    """What the checks of an opened trunk have found, which holds for every model of the same make."""

    forms: Sequence[Form]
    """What each of the frozen blocks returns, without its numbers."""
    versions: Sequence[FileVersion]
    """Versions of the files that were read."""


_PROOF = TypeAdapter(Proof)


class Proofs:
    """Proofs by the make of the models that they hold for, in a folder that need not be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Proof] = {}

    def find(self, make: str) -> Proof | None:
        """Return what is known of a make; ``None``: nothing."""
        if make not in self._known:
            # Not there, or cut short by a power cut: the trial checks by itself
            with contextlib.suppress(OSError, ValueError):
                self._known[make] = _PROOF.validate_json((self._folder / f"{make}.proof").read_bytes())
        return self._known.get(make)

    def add(self, make: str, proof: Proof) -> None:
        """Remember ``proof``, and forget all others where there are too many."""
        if len(self._known) >= MAX_PROOFS:
            self._known.clear()
        self._known[make] = proof
        with contextlib.suppress(OSError):  # other processes check by themselves
            self._write(make, proof)

    def _write(self, make: str, proof: Proof) -> None:
        files = list(self._folder.glob("*.proof"))
        for file in files if len(files) >= MAX_PROOFS else ():
            file.unlink(missing_ok=True)
        partial = self._folder / f".{uuid4().hex}.proof"
        partial.write_bytes(_PROOF.dump_json(proof))
        os.replace(partial, self._folder / f"{make}.proof")  # whoever reads at the same time finds all of it or nothing
