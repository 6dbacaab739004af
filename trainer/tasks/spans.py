"""Spans in sequences of tags, and how many were found: the measure of CoNLL-2003.

A tag ``B-X`` begins a span of type X and ``I-X`` goes on with it; ``O``, or any other tag, is outside. An ``I-X`` that
follows neither ``B-X`` nor ``I-X`` begins one, as in CoNLL's script ``conlleval`` and in ``seqeval``'s default mode
(unmaintained since 2020, so not used). Tags without prefixes (``PER``, ``O``) are treated as ``I-``: a run of one tag
is one span.

Schemes that also mark the end of a span (IOBES, BILOU, BMES) are read as both of them read IOBES: ``E-X`` goes on as
``I-X`` does and ends the span, ``S-X`` is a span of one word, and ``L-``, ``U-`` and ``M-`` are other letters for
``E-``, ``S-`` and ``I-``. The case of a prefix does not matter.
"""

from collections.abc import Iterable, Sequence

Span = tuple[str, int, int]
"""A span by its type, its first position and the position behind its last."""

_PREFIXES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
"""Prefixes of tags, and which of IOBES they mean."""


def spans_of(tags: Sequence[str]) -> set[Span]:
    """Return the spans of one sequence of tags."""
    spans: set[Span] = set()
    kind, start = "", 0
    for position, tag in enumerate([*tags, "O"]):
        prefix, name = _parts(tag)
        goes_on = prefix in ("I", "E") and name == kind
        if kind and not goes_on:
            spans.add((kind, start, position))
        if not goes_on:
            kind, start = name, position
        if prefix in ("E", "S"):
            spans.add((kind, start, position + 1))
            kind = ""
    return spans


def marked_otherwise(tags: Iterable[str]) -> list[str]:
    """Return tags that mark the beginning and the rest of spans in a way that is not read, as ``B_X`` and ``I_X``, or
    ``X-B`` and ``X-I``: each would count as a type of its own."""
    known = set(tags)
    others = {
        tag: [f"I{tag[1:]}"] * tag.startswith(("B_", "B:", "B.", "B/")) + [f"{tag[:-1]}I"] * tag.endswith(("-B", "_B"))
        for tag in sorted(known)
    }
    return [tag for tag, rests in others.items() if not known.isdisjoint(rests)]


def score_spans(pairs: Iterable[tuple[Sequence[str], Sequence[str]]]) -> dict[str, float]:
    """Return precision, recall and F1 over the spans of all sequences together; 0 where there is nothing to divide by.

    Args:
        pairs: predicted and actual tags of each sequence.
    """
    n_predicted = n_actual = n_right = 0
    for predicted_tags, actual_tags in pairs:
        predicted, actual = spans_of(predicted_tags), spans_of(actual_tags)
        n_predicted += len(predicted)
        n_actual += len(actual)
        n_right += len(predicted & actual)
    return {
        "span_precision": n_right / n_predicted if n_predicted else 0.0,
        "span_recall": n_right / n_actual if n_actual else 0.0,
        "span_f1": 2 * n_right / (n_predicted + n_actual) if n_right else 0.0,
    }


def _parts(tag: str) -> tuple[str, str]:
    """``B``, ``I``, ``E`` or ``S`` and the type; an empty type is outside."""
    if tag == "O":
        return "", ""
    prefix, dash, name = tag.partition("-")
    if dash and name and prefix.upper() in _PREFIXES:
        return _PREFIXES[prefix.upper()], name
    return "I", tag
