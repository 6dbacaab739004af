"""Says in words what is odd about a study's data. Nothing here ends a study."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from spezia.common.plural import plural
from trainer.data.rows import AnyRules, Rows, Splits

_UNBALANCED = 4
"""Least ratio of the rows of the largest class to those of the smallest at which there is a warning: of two classes the
smaller has a fifth of the rows then, from where on Google's course on machine learning calls the imbalance moderate."""

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def data_warnings(task: AnyRules, splits: Splits[Any, Any], *, is_weighted: bool) -> list[str]:
    """Return warnings of odd files, of classes that look like one or like lists, of empty texts, of training examples
    that occur again in validation or test, and of unbalanced classes.

    Args:
        is_weighted: whether the training loss makes up for unbalanced classes already.
    """
    held_out = splits.held_out
    warnings: list[str | None] = [*splits.notes, *task.odd_classes(splits.class_names), *_near_classes(task, splits)]
    warnings += [*_list_like(splits.class_names), *_quoted(splits.class_names)]
    warnings += [_empty(task, name, rows) for name, rows in ({"train": splits.train} | held_out).items()]
    warnings += [_duplicates(task, splits.train, name, rows) for name, rows in held_out.items()]
    warnings.append(_unbalanced(task, splits.train, is_weighted=is_weighted))
    return [warning for warning in warnings if warning is not None]


def _near_classes(task: AnyRules, splits: Splits[Any, Any]) -> list[str]:
    """Warn of classes whose names differ by nothing but the way in which they are written."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in splits.class_names:
        alike[_folded(name)].append(name)
    groups = [names for names in alike.values() if len(names) > 1]
    if not groups:
        return []
    counts = Counter(name for target in splits.train.targets for name in task.classes_of(target))
    return [
        f"classes differ only in how they are written: {_counted(names, counts)}; write them alike if they are "
        "one class"
        for names in groups
    ]


def _folded(name: str) -> str:
    """Return ``name`` without case, blanks, quotes and characters that nobody sees, and numbers in one form."""
    if _NUMBER.fullmatch(name):
        return repr(float(name))
    seen = (each for each in unicodedata.normalize("NFKC", name) if unicodedata.category(each) != "Cf")
    return "".join("".join(seen).split()).casefold().strip("'\"")


def _counted(names: list[str], counts: Counter[str]) -> str:
    return ", ".join(f"{_shown(name)} ({plural(counts[name], 'row')})" for name in names)


def _shown(name: str) -> str:
    """Quote ``name`` so that it looks different from every other one."""
    return repr(name) if unicodedata.normalize("NFC", name) == name else ascii(name)


def _list_like(class_names: Sequence[str]) -> list[str]:
    """Warn of names that are lists written as text, as pandas writes them into CSV files."""
    found = [name for name in class_names if name.startswith("[") and name.endswith("]")]
    if not found:
        return []
    note = (
        f"classes that look like lists, such as {found[0]!r} ({len(found)} in all), count as one class each: if texts "
        "have several, write real lists (JSONL, Parquet), or separate them and set data.label_separator"
    )
    return [note]


def _quoted(class_names: Sequence[str]) -> list[str]:
    """Warn of names that still have their quotes, as those have in CSV files that put a blank before them."""
    found = [name for name in class_names if len(name) > 2 and name[0] == name[-1] and name[0] in "'\""]
    if not found:
        return []
    note = (
        f"classes have quotes in their names, such as {found[0]!r} ({len(found)} in all): in a CSV file, write double "
        "quotes and no blank before them, or text that is quoted may be cut at its first comma"
    )
    return [note]


def _empty(task: AnyRules, name: str, rows: Rows[Any, Any]) -> str | None:
    n_empty = sum(map(task.is_empty, rows.inputs))
    if not n_empty:
        return None
    return f"{n_empty} of {len(rows)} {name} {task.noun} are empty; the model can only guess there"


def _duplicates(task: AnyRules, train: Rows[Any, Any], name: str, rows: Rows[Any, Any]) -> str | None:
    known = set(train.inputs)
    n_known = sum(example in known for example in rows.inputs)
    if not n_known:
        return None
    return f"{n_known} of {len(rows)} {name} {task.noun} also occur in train; {name} looks better than it is"


def _unbalanced(task: AnyRules, train: Rows[Any, Any], *, is_weighted: bool) -> str | None:
    strata = [stratum for target in train.targets if (stratum := task.stratum(target)) is not None]
    if not strata:
        return None
    ordered = Counter(strata).most_common()
    (largest, n_largest), (smallest, n_smallest) = ordered[0], ordered[-1]
    if n_largest < _UNBALANCED * n_smallest:
        return None
    offer = "" if is_weighted else ", and training.class_weights: balanced lets each class count as much as another"
    return (
        f"classes are unbalanced, {n_largest} training rows of {largest!r} and {n_smallest} of {smallest!r}, "
        f"{n_largest / n_smallest:.3g} to 1: accuracy can mislead, consider the metric f1_macro{offer}"
    )
