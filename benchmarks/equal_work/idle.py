"""What a run's times say: the worker-seconds in which nothing trained, why, and how soon a trial follows another.

A run has ``started_at`` and ``ended_at``, ``workers`` (from when to when each imported what trains), and ``work``: what
each ``worker`` did from ``began_at`` to ``ended_at``, of which ``kind``. A trial also has its ``number``,
``first_step_at``, when its first optimizer step was made, ``reports``, from when to when it waited for each answer, and
``trunk_seconds``, in which Spezia has computed what frozen blocks put out. All times are seconds since 1970.

A worker trains from the beginning of a trial's first optimizer step to its last report, but for the waits; evaluations
belong to it, of the peers as well, and so do the trunk seconds just before, for which later steps have less to compute.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

START = "start"
IMPORTS = "imports"
WAIT = "waiting for a first trial"
FIRST = "first trial, before its first step"
MODELS = "later trials, before their first step"
REPORTS = "waiting for answers to reports"
BETWEEN = "between trials"
TAIL = "idle tail"
"""Why nothing trains; work that is no trial goes by its own name: ``prepare``."""


def idle_seconds(run: dict[str, Any], steps_of_epoch: Sequence[int]) -> dict[str, float]:
    """Return the worker-seconds in which nothing trained, by reason.

    Args:
        steps_of_epoch: optimizer steps of an epoch of each trial, by number; each epoch ends with a report.
    """
    seconds: Counter[str] = Counter()
    for worker, (imports_at, ready_at) in run["workers"].items():
        seconds[START] += imports_at - run["started_at"]
        seconds[IMPORTS] += ready_at - imports_at
        free_at, reason_if_free, reason_before_step = ready_at, WAIT, FIRST
        for work in work_of(run, worker):
            seconds[reason_if_free] += work["began_at"] - free_at
            free_at = work["ended_at"]
            if work["kind"] != "trial":
                seconds[work["kind"]] += work["ended_at"] - work["began_at"]
                continue
            seconds[reason_before_step] += begin_of_training(work, steps_of_epoch) - work["began_at"]
            seconds[REPORTS] += sum(answered_at - asked_at for asked_at, answered_at in work["reports"])
            seconds[BETWEEN] += work["ended_at"] - work["reports"][-1][1]
            reason_if_free, reason_before_step = BETWEEN, MODELS
        seconds[TAIL] += run["ended_at"] - free_at
    return dict(seconds)


def turnarounds(run: dict[str, Any], steps_of_epoch: Sequence[int]) -> list[float]:
    """Return the seconds from the last report of a trial to the first step of the next one of the same worker."""
    return [
        begin_of_training(after, steps_of_epoch) - before["reports"][-1][0]
        for worker in run["workers"]
        for before, after in pairwise(work for work in work_of(run, worker) if work["kind"] == "trial")
    ]


def summarise(run: dict[str, Any], steps_of_epoch: Sequence[int]) -> dict[str, Any]:
    """Return makespan, idle worker-seconds, their share and the median turnaround of a run, for a line of results."""
    makespan = run["ended_at"] - run["started_at"]
    idle = idle_seconds(run, steps_of_epoch)
    between = turnarounds(run, steps_of_epoch)
    return {
        "makespan_s": round(makespan, 2),
        "workers": len(run["workers"]),
        "idle_s": {reason: round(seconds, 2) for reason, seconds in idle.items()},
        "idle_share": round(sum(idle.values()) / makespan / len(run["workers"]), 4),
        "turnaround_ms": round(1_000 * median(between)) if between else None,
    }


def work_of(run: dict[str, Any], worker: str) -> Iterator[dict[str, Any]]:
    """Yield what a worker did, in order."""
    return iter(sorted((work for work in run["work"] if work["worker"] == worker), key=lambda work: work["began_at"]))


def begin_of_training(trial: dict[str, Any], steps_of_epoch: Sequence[int]) -> float:
    """Return when training began: the trunk seconds and one step, as long as others of its epoch, before that ended."""
    n_others = steps_of_epoch[trial["number"]] - 1
    of_step = (trial["reports"][0][0] - trial["first_step_at"]) / n_others if n_others else 0.0
    return max(trial["began_at"], trial["first_step_at"] - of_step - trial.get("trunk_seconds", 0.0))
