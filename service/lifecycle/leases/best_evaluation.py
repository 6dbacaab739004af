"""Find the best evaluation of a running trial without reading the others."""

from typing import overload

from service.search.results.learning_curve import Point, best_point, best_step, points
from service.store import measurements
from service.store.leases import Lease
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial


@overload
def best_evaluation(tx: Transaction, study: StudyRow, held: Lease, trial: FrozenTrial, newest: Point) -> Point: ...
@overload
def best_evaluation(tx: Transaction, study: StudyRow, held: Lease, trial: FrozenTrial) -> Point | None: ...
def best_evaluation(
    tx: Transaction, study: StudyRow, held: Lease, trial: FrozenTrial, newest: Point | None = None
) -> Point | None:
    """Return the evaluation of an attempt that the study's first objective chooses; ``None`` if it has reported none.

    Args:
        newest: An evaluation among the trial's values that is yet to be stored.
    """
    values = trial.intermediate_values
    if not values:
        return None
    step = best_step(study.spec, values)
    if newest is not None and newest.step == step:
        return newest
    row = tx.ask(measurements.at_step(held, step))
    if row is not None:
        return points([row])[0]
    # another program has given the trial a value that no worker has reported
    curve = points(measurements.of_attempt(tx, held.study_uuid, held.number, held.attempt))
    curve += [newest] if newest is not None else []
    return best_point(study.spec, curve) if curve else None
