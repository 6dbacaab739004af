"""Statements on the values of the trials of several studies at once: what small pictures of them are drawn from."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select

from service.store.optuna.tables import studies, trial_user_attributes, trial_values, trials
from service.store.sql.tables import study_spec, study_summary
from service.store.transaction import Transaction
from service.store.trials import BASELINE

POINTS = 32
"""About how many points a study has at most."""

_FIRST_TRIALS = 100
"""The baseline is among so many first trials: it is made before anything is proposed."""

_HAS_VALUE = (trials.c.state == "COMPLETE", trial_values.c.objective == 0, trial_values.c.value_type == "FINITE")


@dataclass(kw_only=True)
class Values:
    """First values of the COMPLETE trials of a study."""

    baseline: float | None = None
    """Value of the baseline; ``None`` while it has none."""
    extremes: list[tuple[float, float]] = field(default_factory=list)
    """The least and the greatest value of each group of trials with adjacent numbers, in the order of these."""


def of_studies(tx: Transaction, names: Sequence[str]) -> dict[str, Values]:
    """Return the values of some studies, by name; the database groups them, so that few are read of many trials."""
    found = {name: Values() for name in names}
    n_finished = study_summary.c.complete + study_summary.c.pruned + study_summary.c.fail
    group = trials.c.number // (n_finished // POINTS + 1)
    of_trials = (
        select(studies.c.study_name)
        .join(study_spec, study_spec.c.study_id == studies.c.study_id)
        .join(study_summary, study_summary.c.study_uuid == study_spec.c.uuid)
        .join(trials, trials.c.study_id == study_spec.c.study_id)
        .join(trial_values, trial_values.c.trial_id == trials.c.trial_id)
        .where(studies.c.study_name.in_(names), *_HAS_VALUE)
    )
    extremes = of_trials.add_columns(func.min(trial_values.c.value), func.max(trial_values.c.value))
    for name, least, greatest in tx.connection.execute(
        extremes.group_by(studies.c.study_name, group).order_by(studies.c.study_name, group)
    ):
        found[name].extremes.append((least, greatest))
    baselines = (
        of_trials.add_columns(trial_values.c.value)
        .join(trial_user_attributes, trial_user_attributes.c.trial_id == trials.c.trial_id)
        .where(trial_user_attributes.c.key == BASELINE, trials.c.number < _FIRST_TRIALS)
    )
    for name, value in tx.connection.execute(baselines):
        found[name].baseline = value
    return found
