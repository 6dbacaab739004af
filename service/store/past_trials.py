"""Trials of finished studies from which another study learns: a few of each, however many there are."""

from collections import defaultdict
from collections.abc import Collection, Mapping

from sqlalchemy import and_, case, func, or_, select

from service.store.optuna.frozen import load_trials
from service.store.optuna.tables import trial_values, trials
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial

N_BEST = 50
"""Number of the best trials of each study that are read."""
N_FIRST = 100
"""Trials of smaller numbers are read too, bad ones among them: most samplers begin with trials all over the space."""


def best_and_first(tx: Transaction, steps: Mapping[int, Collection[int]], sign: float) -> dict[int, list[FrozenTrial]]:
    """Return the best and the first COMPLETE and PRUNED trials of some studies, by the id that Optuna gave the study.

    Args:
        steps: Steps whose intermediate values are read, by the id of the study.
        sign: 1 if the lowest first value is the best, -1 if the highest.
    """
    is_first_value = and_(trial_values.c.trial_id == trials.c.trial_id, trial_values.c.objective == 0)
    is_whole = and_(trials.c.state == "COMPLETE", trial_values.c.value_type == "FINITE")
    place = func.row_number().over(
        partition_by=trials.c.study_id,
        order_by=(case((is_whole, 0), else_=1), sign * trial_values.c.value, trials.c.number),
    )
    ended = (
        select(trials.c.trial_id, trials.c.study_id, trials.c.number, place.label("place"))
        .outerjoin(trial_values, is_first_value)
        .where(trials.c.study_id.in_(steps), trials.c.state.in_(("COMPLETE", "PRUNED")))
        .subquery()
    )
    wanted = select(ended.c.trial_id, ended.c.study_id).where(or_(ended.c.place <= N_BEST, ended.c.number < N_FIRST))
    ids: defaultdict[int, list[int]] = defaultdict(list)
    for row in tx.connection.execute(wanted):
        ids[row.study_id].append(row.trial_id)
    return {study_id: list(load_trials(tx.runner, ids[study_id], steps[study_id]).values()) for study_id in steps}
