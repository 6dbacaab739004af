"""Decides which workers of a cluster are made and which are removed, from what is wanted and what there is.

It knows of actors only by their names and states, and asks nobody: the loop that carries its decisions out does
(service/launch/ray.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ActorState = Literal["unplaced", "placed", "working", "stale", "ending", "ended"]
"""What an actor is known to do.

- ``unplaced``: the cluster has no place for it yet, or it has not answered yet.
- ``placed``: it has a place, and no worker yet.
- ``working``: its worker runs, whether it has work or waits for some.
- ``stale``: its worker, or it itself, is of other settings or versions, or has no key any more.
- ``ending``: its worker was told to end.
- ``ended``: its worker is gone, or it is itself.
"""

_USABLE = ("unplaced", "placed", "working")


@dataclass(frozen=True, kw_only=True)
class SeenActor:
    """An actor as one look at the cluster has found it."""

    name: str
    state: ActorState
    is_busy: bool = False
    """Whether its worker holds a lease."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to be done with the actors of a cluster, each by its name."""

    create: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    """Actors that have a place, whose worker is to be started."""
    end: tuple[str, ...] = ()
    """Actors whose worker is to end in good order."""
    remove: tuple[str, ...] = ()
    """Actors to be killed, since no worker is lost with them."""


def reconcile(seen: Sequence[SeenActor], *, n_open: int, at_most: int) -> Decision:
    """Decide what is to be done with the actors of a cluster.

    A worker that waits for work is left alone: it ends by itself when it has waited for long. A busy one is ended only
    if it is stale.

    Args:
        n_open: How many assignments nobody carries out yet.
        at_most: Number of workers that there may be; their names are those of ``worker_names(at_most)``.
    """
    usable = [actor for actor in seen if actor.state in _USABLE]
    n_wanted = min(at_most, n_open + sum(actor.is_busy for actor in usable))
    surplus = len(usable) - n_wanted
    # those without a worker go first, and of them those that wait for a place
    without_worker = [actor.name for state in ("unplaced", "placed") for actor in usable if actor.state == state]
    too_many = tuple(without_worker[: max(0, surplus)])
    taken = {actor.name for actor in seen}
    free = [name for name in worker_names(at_most) if name not in taken]
    return Decision(
        create=tuple(free[: max(0, -surplus)]),
        start=tuple(actor.name for actor in usable if actor.state == "placed" and actor.name not in too_many),
        end=tuple(actor.name for actor in seen if actor.state == "stale"),
        remove=(*too_many, *(actor.name for actor in seen if actor.state == "ended")),
    )


def worker_names(at_most: int) -> list[str]:
    """Return the names that actors may have; the cluster lets no two of them have the same."""
    return [f"worker-{number}" for number in range(at_most)]
