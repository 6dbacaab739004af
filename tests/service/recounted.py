"""What the trials of a study come to, counted anew from all of them: a judge of what is kept."""

from collections import Counter
from typing import Any

from service.lifecycle.pilots.compare_pilots import compare_pilots
from service.lifecycle.studies.describe_study import describe_study
from service.search.results.learning_curve import best_point, generalization_gap, points
from service.search.results.ranking import leaders
from service.store import attempts, measurements, trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction


def recounted(tx: Transaction, study: StudyRow) -> dict[str, Any]:
    """Return those fields of a study, as people see it, that its trials decide."""
    seen = trials.all_of(tx, study)
    found = leaders(seen, study.spec)
    is_one = len(study.spec.objectives) == 1
    failed = [trial for trial in seen if trial.state.name == "FAIL"]
    failures = [failure.failure_class for failure in map(trials.failure_of, failed) if failure is not None]
    states = Counter(trial.state.name.lower() for trial in seen)
    curve = points(measurements.of_last_attempt(tx, study.uuid, found[0].number)) if is_one and found else []
    small_runs = compare_pilots(tx, study, seen)
    return {
        "trials": {state: states[state] for state in ("waiting", "running", "complete", "pruned", "fail")}
        | {"paused": sum(trials.paused_at(trial) is not None for trial in seen)},
        "best": {"number": found[0].number, "value": found[0].values[0]} if is_one and found else None,
        "pareto": None if is_one else [trial.number for trial in found],
        "n_finished": states["complete"] + states["pruned"] + states["fail"],
        "failures": dict(Counter(one for one in failures if one != "cancelled")),
        "generalization_gap": generalization_gap(best_point(study.spec, curve).metrics) if curve else None,
        "device_seconds": round(attempts.device_seconds(tx, study.uuid), 6),
        "start_small": None if small_runs is None else small_runs.model_dump(mode="json"),
    }


def shown(tx: Transaction, study: StudyRow) -> dict[str, Any]:
    """Return these fields as people see them."""
    described = describe_study(tx, study).model_dump(mode="json")
    described["device_seconds"] = round(described["device_seconds"], 6)
    return {name: described[name] for name in recounted(tx, study)}
