"""Advice that holds: of what lint, learning curves and edges of ranges propose, what the service would accept.

A piece of advice is dropped where the changed spec is refused, or comes back without the change because its preset
says otherwise; where lint would still find what it is to mend; and, after a trial, where lint would then find something
else. No two pieces are about the same parameter, and all of them can be followed at once.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from service.errors import Invalid
from service.lifecycle.studies.check_spec import check_spec
from service.search.finding import Finding, Remedy, parameter_of
from service.search.lint.lint import lint
from spezia.contract.advice import Advice, Change, NoSuchField, with_changes
from spezia.contract.study_spec import StudySpec
from spezia.contract.validation import SpecWarning

_MOST_BYTES = 100_000
"""Size of all specs together that are checked for one answer."""
_LEAST_CHECKS = 4


@dataclass(frozen=True, kw_only=True)
class Advised:
    """A finding, with those remedies that hold."""

    finding: Finding
    advice: Advice | None
    """The first of its remedies that changes the spec, if any does."""

    @property
    def warning(self) -> SpecWarning:
        """The finding as a warning about a field of the spec."""
        found = self.finding
        return SpecWarning(field=found.field, message=found.message, advice=found.advice)


@dataclass
class Adviser:
    """Advises on one spec, whose preset is filled in; what it has checked once it remembers.

    A check takes as long as the spec is large, so of a large one fewer remedies are checked, those first that may gain
    most; the others are left out.
    """

    spec: StudySpec
    _lint: list[Finding] = field(init=False)
    _checks_left: int = field(init=False)
    _seen: dict[str, bool] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._lint = lint(self.spec)
        self._checks_left = max(_LEAST_CHECKS, _MOST_BYTES // len(self.spec.model_dump_json()))

    def on_spec(self) -> list[Advised]:
        """Return what lint says of the spec, what may gain most first."""
        return self._advise(self._lint, set())

    def on_trial(self, findings: Iterable[Finding]) -> list[Advised]:
        """Return what a trial's curve and params say, what may gain most first.

        What lint has said of a parameter before the study began is not said again otherwise.
        """
        said = {name for finding in self._lint for name in finding.remedies[0].parameters}
        return self._advise(findings, said)

    def _advise(self, findings: Iterable[Finding], taken: set[str]) -> list[Advised]:
        ordered = sorted(findings, key=lambda finding: finding.gain, reverse=True)
        chosen: dict[int, Remedy] = {}
        changed = self.spec
        for index, finding in enumerate(ordered):
            for remedy in finding.remedies:
                if remedy.changes and not remedy.parameters & taken and self._holds(finding, remedy):
                    together = _changed(changed, remedy.changes)
                    if together is not None:
                        changed = together
                        chosen[index] = remedy
                        taken = taken | remedy.parameters
                        break
        advised = []
        for index, finding in enumerate(ordered):
            left = []
            for remedy in finding.remedies:
                if remedy is chosen.get(index) or not remedy.changes:
                    left.append(remedy)
                elif not remedy.parameters & taken and self._holds(finding, remedy):
                    left.append(remedy)
                    taken = taken | remedy.parameters
            if left:
                said = replace(finding, remedies=tuple(left))
                advised.append(Advised(finding=said, advice=_advice(said, chosen.get(index))))
        return advised

    def _holds(self, finding: Finding, remedy: Remedy) -> bool:
        key = json.dumps([finding.field, *([change.field, change.value] for change in remedy.changes)])
        if key not in self._seen and self._checks_left > 0:
            self._checks_left -= 1
            self._seen[key] = self._helps(finding, remedy)
        return self._seen.get(key, False)

    def _helps(self, finding: Finding, remedy: Remedy) -> bool:
        changed = _changed(self.spec, remedy.changes)
        if changed is None:
            return False
        after = lint(changed)
        if finding.field:
            return all((one.field, one.message) != (finding.field, finding.message) for one in after)
        before = {parameter_of(one.field) for one in self._lint}
        return {parameter_of(one.field) for one in after} <= before | remedy.parameters


def _changed(spec: StudySpec, changes: Sequence[Change]) -> StudySpec | None:
    """Return the spec as the service would store it with ``changes``; ``None`` where it refuses them or undoes them."""
    try:
        changed = check_spec(with_changes(spec, changes))
    except (ValidationError, Invalid, NoSuchField):
        return None
    return changed if with_changes(changed, changes) == changed else None


def _advice(finding: Finding, remedy: Remedy | None) -> Advice | None:
    return None if remedy is None else Advice(sentence=str(finding), changes=list(remedy.changes))
