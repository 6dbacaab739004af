"""Warnings about what a spec may ask for and what is likely to disappoint, said before its study starts.

The rules are those of the deep learning tuning playbook (Godbole et al. 2023), of the papers that `presets` names, and
of what our own samplers and pruners do; nothing here looks at data or model.
"""

from collections.abc import Callable, Iterator

from service.search.lint.lint_budget import budget_warnings
from service.search.lint.lint_pruner import pruner_warnings
from service.search.lint.lint_rate import rate_warnings
from service.search.lint.lint_training import training_warnings
from spezia.contract.study_spec import StudySpec
from spezia.contract.validation import SpecWarning

_OF_EVERY_STUDY: tuple[Callable[[StudySpec], Iterator[SpecWarning]], ...] = (budget_warnings,)
_OF_FINE_TUNING = (rate_warnings, pruner_warnings, training_warnings)


def lint(spec: StudySpec) -> list[SpecWarning]:
    """Return the warnings about a spec whose preset is filled in; about a script's own params there are few."""
    rules = _OF_EVERY_STUDY if spec.task == "script" else _OF_EVERY_STUDY + _OF_FINE_TUNING
    return [warning for rule in rules for warning in rule(spec)]
