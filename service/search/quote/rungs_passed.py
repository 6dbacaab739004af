"""How far the trials of a study get under the pruner `rungs`, when nobody knows yet which of them are good.

How many go on from each rung is known beforehand, as `promotions` caps them; which ones is drawn by chance.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from random import Random

from service.search.pruning.rungs import rung_steps
from spezia.contract.pruners import RungsOptions
from spezia.contract.study_spec import StudySpec


def rungs_passed(
    spec: StudySpec, options: RungsOptions, epochs_N: Sequence[int], *, never_pause: Collection[int], top: int
) -> list[int | None]:
    """Return the number of rungs from which each of N trials goes on; ``None``: it comes to its end.

    Args:
        epochs_N: epochs of each trial; those of equally many share their rungs.
        never_pause: places of trials that pass all rungs.
        top: number of trials that have paused which are carried out to their end, at least.
    """
    sharing: defaultdict[int, list[int]] = defaultdict(list)
    for place, epochs in enumerate(epochs_N):
        if place not in never_pause:
            sharing[epochs].append(place)
    passed: list[int | None] = [None] * len(epochs_N)
    waiting: list[tuple[int, int]] = []
    n_complete = 0
    for epochs, reached in sorted(sharing.items()):
        rungs = rung_steps(spec, {"epochs": epochs})
        Random(spec.seed).shuffle(reached)
        for rung in range(len(rungs)):
            n_promoted = len(reached) // options.eta
            waiting += [(rung, place) for place in reached[n_promoted:]]
            reached = reached[:n_promoted]
        n_complete += len(reached) if rungs else 0
    waiting.sort(key=lambda one: -one[0])
    for rung, place in waiting[max(0, top - n_complete) :]:
        passed[place] = rung
    return passed
