"""Show the learning curves of a study (GET /v1/studies/{name}/curves)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from pydantic_core import to_json

from service.lifecycle.revision_cache import RevisionCache
from service.search.results.bands import bands
from service.search.results.evenly_spread import evenly_spread
from service.store import events, measurements, studies, trials
from service.store.store import Store
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.curves import MAX_POINTS

_AT_ONCE = 500
"""Number of trials whose curves are written at once, which is what an answer costs in memory."""

_Points = tuple[Sequence[int], Sequence[float]]
"""Steps and values of one trial, ascending by step."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of the curves of a study."""

    metric: str | None
    """Metric of the values; ``None``: that of the first objective."""
    after: int
    """Only trials that something has happened to behind this event are listed; 0: all."""
    numbers: Collection[int] | None
    """Numbers of the trials that are listed; ``None``: all."""
    with_bands: bool


def last_sequence(store: Store, name: str) -> int:
    """Return the number of the last event of a study: while it is the same, so are the curves.

    Raises:
        StudyNotFound: There is no study of this name.
    """
    with store.reading() as tx:
        return events.last(tx, studies.find(tx, name).uuid)


def show_curves(store: Store, cache: RevisionCache, name: str, wanted: Wanted) -> Iterator[bytes]:
    """Return the curves of a study as the JSON of `Curves`, in pieces. No model is made of so many numbers.

    Args:
        cache: Remembers the bands.

    Raises:
        StudyNotFound: There is no study of this name.
    """
    with store.reading() as tx:
        study = studies.find(tx, name)
        sequence = events.last(tx, study.uuid)
        objectives = {one.metric: one for one in study.spec.objectives}
        first = study.spec.objectives[0].metric
        metric = wanted.metric or first
        seen = trials.all_of(tx, study)
        listed = _listed(tx, study, seen, wanted)
        is_everybody_asked = wanted.with_bands or len(listed) > _AT_ONCE
        asked = None if is_everybody_asked else [trial.number for trial in listed]
        reported = {} if metric == first else _reported(tx, study, seen, metric, asked)

    def points_of(trial: FrozenTrial) -> _Points:
        return reported.get(trial.number, ([], [])) if metric != first else _intermediate(trial)

    def spread() -> bytes:
        return to_json(bands(points_of(trial) for trial in seen))

    head = {
        "study": study.name,
        "metric": metric,
        "direction": objectives[metric].direction if metric in objectives else None,
        "sequence": sequence,
        "numbers": [trial.number for trial in listed],
        "states": [trial.state.name for trial in listed],
    }
    bands_json = cache.get(("bands", study.uuid, metric), sequence, spread) if wanted.with_bands else b"null"
    return _pieces(head, [points_of(trial) for trial in listed], bands_json)


def _listed(tx: Transaction, study: StudyRow, seen: list[FrozenTrial], wanted: Wanted) -> list[FrozenTrial]:
    numbers = wanted.numbers
    if wanted.after > 0:
        changed = events.numbers_since(tx, study.uuid, wanted.after)
        if changed is not None:
            numbers = changed if numbers is None else changed.intersection(numbers)
    return seen if numbers is None else [trial for trial in seen if trial.number in numbers]


def _intermediate(trial: FrozenTrial) -> _Points:
    in_order = evenly_spread(sorted(trial.intermediate_values.items()), MAX_POINTS)
    return [step for step, _ in in_order], [value for _, value in in_order]


def _reported(
    tx: Transaction, study: StudyRow, seen: list[FrozenTrial], metric: str, numbers: Collection[int] | None
) -> dict[int, _Points]:
    """A metric at the evaluations of each trial's last attempt, by number; what it began anew is not shown again."""
    current = {trial.number: trial.intermediate_values for trial in seen}
    found: dict[int, _Points] = {}
    rows = measurements.metric_of_study(tx, study.uuid, metric, numbers)
    for (number, _), of_attempt in groupby(rows, key=itemgetter(0, 1)):
        points = [(step, value) for *_, step, value in of_attempt if value is not None and step in current[number]]
        shown = evenly_spread(points, MAX_POINTS)
        found[number] = [step for step, _ in shown], [value for _, value in shown]  # later attempts come later
    return found


def _pieces(head: Mapping[str, object], points: list[_Points], bands_json: bytes) -> Iterator[bytes]:
    yield to_json(head)[:-1]
    for place, column in enumerate(("steps", "values")):
        yield b',"%s":[' % column.encode()
        for start in range(0, len(points), _AT_ONCE):
            some = [one[place] for one in points[start : start + _AT_ONCE]]
            yield (b"," if start else b"") + to_json(some, inf_nan_mode="null")[1:-1]
        yield b"]"
    yield b',"bands":' + bands_json + b"}"
