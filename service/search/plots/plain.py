"""Show what users have named as the text that it is: Plotly takes texts for HTML of its own.

Titles, labels and hover texts may hold `<b>` or `<a href>`, and hover texts `%{…}`, which Plotly fills in.
"""

import copy
from collections.abc import Iterable
from functools import cache
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "{": "&#123;"})


def plain(text: str) -> str:
    """Return a text as Plotly shows it unchanged."""
    return text.translate(_ENTITIES)


def plain_trials(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return copies of trials whose params are named as Plotly shows them, without user attributes, which nobody asked
    to see, and intermediate values, which no plot shows and Optuna would copy.
    """
    plain_distribution = cache(_plain_distribution)
    shown = []
    for trial in trials:
        one = copy.copy(trial)
        one.params = {plain(name): _plain_value(value) for name, value in trial.params.items()}
        one.distributions = {plain(name): plain_distribution(is_for) for name, is_for in trial.distributions.items()}
        one.user_attrs = {}
        one.intermediate_values = {}
        shown.append(one)
    return shown


def _plain_distribution(distribution: BaseDistribution) -> BaseDistribution:
    if not isinstance(distribution, CategoricalDistribution):
        return distribution
    return CategoricalDistribution([_plain_value(choice) for choice in distribution.choices])


def _plain_value(value: Any) -> Any:
    return plain(value) if isinstance(value, str) else value
