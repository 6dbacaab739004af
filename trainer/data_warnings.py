"""What is odd about a study's data, in words: nothing here ends a study."""

from collections import Counter

from trainer.data import Rows, Splits

_UNBALANCED = 20
"""Warn where the largest class has this many times the rows of the smallest."""


def data_warnings(splits: Splits) -> list[str]:
    """Empty texts, training examples seen again in validation or test, unbalanced classes."""
    held_out = [("validation", splits.validation)] + ([("test", splits.test)] if splits.test else [])
    warnings = [
        message
        for name, rows in [("train", splits.train), *held_out]
        if (message := _empty_texts(name, rows)) is not None
    ]
    warnings += [message for name, rows in held_out if (message := _duplicates(splits.train, name, rows)) is not None]
    return warnings + _unbalanced(splits.train)


def _empty_texts(name: str, rows: Rows) -> str | None:
    n_empty = sum(not text.strip() for text in rows.texts)
    if not n_empty:
        return None
    return f"{n_empty} of {len(rows.texts)} {name} texts are empty; the model can only guess their class"


def _duplicates(train: Rows, name: str, rows: Rows) -> str | None:
    known = set(train.texts)
    n_known = sum(text in known for text in rows.texts)
    if not n_known:
        return None
    return f"{n_known} of {len(rows.texts)} {name} texts also occur in train; {name} looks better than it is"


def _unbalanced(train: Rows) -> list[str]:
    ordered = Counter(train.labels).most_common()
    (largest, n_largest), (smallest, n_smallest) = ordered[0], ordered[-1]
    if n_largest < _UNBALANCED * n_smallest:
        return []
    message = (
        f"classes are very unbalanced, {n_largest} training rows of {largest!r} and {n_smallest} of "
        f"{smallest!r}: accuracy can mislead, consider the metric f1_macro"
    )
    return [message]
