"""Whether runs did equal work, and how many times as long as Spezia the others took."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median
from typing import Any

OURS = "spezia"
NEAR, ABOVE = 0.1, 0.03
"""Nats that a single loss may differ by, and that their mean may lie above, for work to be equal."""

Line = Mapping[str, Any]


def compare(lines: Sequence[Line], frozen_layers: Sequence[int]) -> dict[str, Any]:
    """Compare each other system's lines of results with Spezia's, round by round.

    Args:
        frozen_layers: of each trial, by number. Losses with frozen blocks may be lower with Spezia, where those blocks
            have no dropout.
    """
    return {
        system: {"ratio": spread(ratios(lines, system)), "losses": compare_losses(lines, system, frozen_layers)}
        for system in dict.fromkeys(line["system"] for line in lines)
        if system != OURS and ratios(lines, system)
    }


def ratios(lines: Sequence[Line], system: str) -> list[float]:
    """Return how many times as long as Spezia another system took in each round that both have run."""
    ours, theirs = ({line["round"]: line["makespan_s"] for line in of(lines, name)} for name in (OURS, system))
    return [theirs[one] / ours[one] for one in sorted(ours.keys() & theirs.keys())]


def compare_losses(lines: Sequence[Line], system: str, frozen_layers: Sequence[int]) -> dict[str, Any]:
    """Return how far Spezia's final validation losses lie above another system's, and whether that is equal work."""
    above = [ours - theirs for ours, theirs in zip(losses(lines, OURS), losses(lines, system), strict=True)]
    unfrozen = [abs(one) for one, n_frozen in zip(above, frozen_layers, strict=True) if n_frozen == 0]
    return {
        "above": [round(one, 4) for one in above],
        "mean_above": round(mean(above), 4),
        "is_equal": max(above) <= NEAR and max(unfrozen, default=0.0) <= NEAR and mean(above) <= ABOVE,
    }


def losses(lines: Sequence[Line], system: str) -> list[float]:
    """Return the final losses of each trial, means of all rounds."""
    return [mean(of_trial) for of_trial in zip(*(line["losses"] for line in of(lines, system)), strict=True)]


def spread(numbers: Iterable[float]) -> dict[str, float]:
    """Return median and range."""
    known = list(numbers)
    return {"median": round(median(known), 3), "least": round(min(known), 3), "most": round(max(known), 3)}


def of(lines: Sequence[Line], system: str) -> list[Line]:
    return [line for line in lines if line["system"] == system]


def table(lines: Sequence[Line], compared: Mapping[str, Any]) -> str:
    """Return what the lines say, a system a row; then idle seconds by reason and losses by trial, a system a column."""
    systems = sorted({line["system"] for line in lines}, key=lambda system: (system != OURS, system))
    own = [of(lines, system) for system in systems]
    reasons = dict.fromkeys(reason for line in lines for reason in line["idle_s"])
    by_trial = zip(*(losses(lines, system) for system in systems), strict=True)
    return "\n\n".join(
        (
            columns(
                ["", "makespan, s", "times Spezia's", "idle", "turnaround, ms", "of the peak", "equal work"],
                *(row(system, of(lines, system), compared.get(system)) for system in systems),
            ),
            columns(
                ["worker-seconds in which nothing trained", *systems],
                *(
                    [reason, *(f"{median(line['idle_s'].get(reason, 0.0) for line in of_one):.2f}" for of_one in own)]
                    for reason in reasons
                ),
            ),
            columns(
                ["final validation loss of trial", *systems],
                *([str(number), *(f"{one:.4f}" for one in of_trial)] for number, of_trial in enumerate(by_trial)),
            ),
        )
    )


def row(system: str, lines: Sequence[Line], against: Mapping[str, Any] | None) -> list[str]:
    turnarounds = [line["turnaround_ms"] for line in lines if line["turnaround_ms"] is not None]
    return [
        system,
        show(spread(line["makespan_s"] for line in lines)),
        show(against["ratio"]) if against else "",
        f"{median(line['idle_share'] for line in lines):.1%}",
        f"{median(turnarounds):.0f}" if turnarounds else "",
        f"{median(line['share_of_peak'] for line in lines):.1%}",
        ("yes" if against["losses"]["is_equal"] else "NO") if against else "",
    ]


def show(numbers: Mapping[str, float]) -> str:
    return f"{numbers['median']:.2f} ({numbers['least']:.2f} to {numbers['most']:.2f})"


def columns(*rows: Sequence[str]) -> str:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in rows)
