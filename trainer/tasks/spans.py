"""Spans in sequences of tags, and how many were found: the measure of CoNLL-2003.

A tag ``B-X`` begins a span of type X and ``I-X`` goes on with it; ``O``, or any other tag, is outside. An ``I-X`` that
follows neither ``B-X`` nor ``I-X`` begins one, as in CoNLL's script ``conlleval`` and in ``seqeval``'s default mode
(unmaintained since 2020, so not used). Tags without prefixes (``PER``, ``O``) are treated as ``I-``: a run of one tag
is one span.
"""

from collections.abc import Iterable, Sequence

Span = tuple[str, int, int]
"""A span by its type, its first position and the position behind its last."""


def spans_of(tags: Sequence[str]) -> set[Span]:
    """Return the spans of one sequence of tags."""
    spans: set[Span] = set()
    kind, start = "", 0
    for position, tag in enumerate([*tags, "O"]):
        prefix, name = _parts(tag)
        goes_on = prefix == "I" and name == kind
        if kind and not goes_on:
            spans.add((kind, start, position))
        if not goes_on:
            kind, start = name, position
    return spans


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
    """``B`` or ``I`` and the type; an empty type is outside."""
    if tag == "O":
        return "", ""
    prefix, dash, name = tag.partition("-")
    if dash and name and prefix in ("B", "I"):
        return prefix, name
    return "I", tag
