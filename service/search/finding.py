"""What is worth knowing about a spec or a trial, and what may be done about it.

`lint` and `results` find; `service.lifecycle.studies.advise` drops what the service would refuse.
"""

from dataclasses import dataclass
from enum import IntEnum

from spezia.contract.advice import Change

_GROUPS = ("training", "data", "start_small")
"""Fields of a spec that hold several settings, each a parameter of its own to those who give advice."""

_MANY = 6
"""Largest number of names in a sentence."""


class Gain(IntEnum):
    """What a study may gain by doing something about a finding, the least first."""

    CLARITY = 0
    """Figures that mean what they seem to mean."""
    COST = 1
    """The same answer for less."""
    VALUE = 2
    """A better value of the objective."""
    EFFECT = 3
    """Something that was asked for and does not happen now."""


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One thing that may be done about a finding."""

    words: str
    """What to do, as a clause without a capital or a full stop."""
    changes: tuple[Change, ...] = ()
    """Changes of the spec that do it; empty where something else must change, or where only a person knows to what."""

    @property
    def parameters(self) -> set[str]:
        """Parameters that the changes are about, by `parameter_of`."""
        return {parameter_of(change.field) for change in self.changes}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is worth knowing, with the things that may be done about it."""

    field: str = ""
    """Field of the spec that the finding is about; empty for one that is about a trial."""
    message: str
    """What was found, as a clause without a capital or a full stop."""
    gain: Gain
    """What may be gained."""
    remedies: tuple[Remedy, ...]
    """Things to do, any of which is enough, the best first."""

    @property
    def advice(self) -> str:
        """What to do, in words."""
        return ", or ".join(dict.fromkeys(remedy.words for remedy in self.remedies))

    def __str__(self) -> str:
        sentence = f"{self.message}; {self.advice}"
        return f"{self.field}: {sentence}" if self.field else sentence


def some(*remedies: Remedy | None) -> tuple[Remedy, ...]:
    """Return those of ``remedies`` that there are."""
    return tuple(remedy for remedy in remedies if remedy is not None)


def parameter_of(field: str) -> str:
    """Return what a field of the spec is about: the name of a hyperparameter, or a setting such as ``sampler``."""
    parts = field.split(".")
    if parts[0] in ("search_space", "fixed") and len(parts) > 1:
        return parts[1]
    return ".".join(parts[:2]) if parts[0] in _GROUPS else parts[0]


def listed(names: list[str]) -> str:
    """Return names in words, of many only the first."""
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more
