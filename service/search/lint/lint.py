"""Warnings about what a spec may ask for and what is likely to disappoint, said before its study starts.

The rules are those of the deep learning tuning playbook (Godbole et al. 2023), of the papers that `presets` names, and
of what our own samplers and pruners do; nothing here looks at data or model.
"""

from collections.abc import Callable, Iterator

from service.search.finding import Finding
from service.search.lint.lint_budget import budget_findings
from service.search.lint.lint_pruner import pruner_findings
from service.search.lint.lint_rate import rate_findings
from service.search.lint.lint_training import training_findings
from spezia.contract.study_spec import StudySpec

_OF_EVERY_STUDY: tuple[Callable[[StudySpec], Iterator[Finding]], ...] = (budget_findings,)
_OF_FINE_TUNING = (rate_findings, pruner_findings, training_findings)


def lint(spec: StudySpec) -> list[Finding]:
    """Return what to think about again in a spec whose preset is filled in; little about a script's own params."""
    rules = _OF_EVERY_STUDY if spec.task == "script" else _OF_EVERY_STUDY + _OF_FINE_TUNING
    return [finding for rule in rules for finding in rule(spec)]
