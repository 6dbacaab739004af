"""What the columns of a table seem to hold, and the task that the table seems to be for.

The values decide; names are hints, which break ties and say how sure a guess is.
"""

from collections.abc import Sequence

from spezia.common.column_kinds import FEW_ROWS, LONGEST_CLASS, Column, column_of, plain_name, shown
from spezia.common.table_head import TableHead
from spezia.contract.preview import ColumnKind, Confidence, Guess, GuessedColumn, Preview, PreviewColumn
from spezia.contract.tasks import Task

N_ROWS = 20
"""Number of rows that a preview shows."""

_PAIRS = (
    ("text", "textpair"), ("premise", "hypothesis"), ("sentence1", "sentence2"), ("question1", "question2"),
    ("text1", "text2"), ("texta", "textb"), ("sentencea", "sentenceb"), ("question", "sentence"),
    ("query", "document"), ("query", "passage"), ("question", "passage"), ("question", "context"),
)  # fmt: skip
"""Names of two columns that belong together, as GLUE, SNLI and others have them."""

_PROMPTS = (
    ("prompt", "completion"), ("prompt", "response"), ("instruction", "output"), ("instruction", "response"),
    ("question", "answer"), ("input", "output"), ("query", "response"), ("source", "target"),
)  # fmt: skip
"""Names of two columns of which a model is to write the second."""


def preview(head: TableHead, task: Task | None = None) -> Preview:
    """Describe the columns of a table, show its first rows, and guess what it is for.

    Args:
        task: the task whose columns are wanted; ``None``: any.
    """
    columns = [column_of(head, number) for number in range(len(head.columns))]
    guess, no_guess = _guess(columns, head, task)
    return Preview(
        format=head.format,
        separator=head.separator,
        columns=[
            PreviewColumn(name=shown(column.name), kind=column.kind[0], reason=column.kind[1]) for column in columns
        ],
        n_columns=head.n_columns,
        rows=[[None if value is None else shown(value) for value in row] for row in head.rows[:N_ROWS]],
        n_rows_read=len(head.rows),
        is_whole=head.is_whole,
        n_rows=head.n_rows,
        guess=guess,
        no_guess=no_guess,
    )


def _guess(columns: Sequence[Column], head: TableHead, task: Task | None) -> tuple[Guess | None, str | None]:
    if not head.rows:
        if head.is_whole:
            return None, "it holds names of columns and no row; give a file of examples"
        return None, "there is no whole row in the first 64 KiB; name task and columns yourself"
    if task == "script":
        return None, "a script reads its data itself, so it has no columns"
    if head.n_columns == 1 and head.format == "csv" and task is None:
        why = f"it has one column only, {columns[0].name[:60]!r}, where a study learns one column from another"
        return None, f"{why}; check the character between the columns, or add a column of labels"
    usable = [column for column in columns if column.may_be_named and column.values]
    for guess in (_messages, _tags, _images, _prompts, _labelled, _numbered, _texts):
        found = guess(usable, task)
        if found is not None:
            return found, None
    what = "no task" if task is None else task
    kinds = ", ".join(f"{column.name[:60]!r}: {column.kind[0]}" for column in columns[:8])
    twice = next((name for name in head.columns if name and head.columns.count(name) > 1), None)
    mend = (
        "name task and columns yourself"
        if twice is None
        else f"{twice[:60]!r} names several columns, rename all but one"
    )
    return None, f"the columns fit {what} ({kinds}); {mend}"


def _messages(columns: Sequence[Column], task: Task | None) -> Guess | None:
    if task not in (None, "causal-lm"):
        return None
    found = sorted((each for each in columns if each.kind[0] == "messages"), key=lambda each: each.rank("messages"))
    if not found:
        return None
    reason = f"{_said(found[0])}, whose turns of the assistant a language model learns to write"
    return _made("causal-lm", reason, "high", messages=(found[0], found[0].kind[1], "high"))


def _tags(columns: Sequence[Column], task: Task | None) -> Guess | None:
    if task not in (None, "token-classification"):
        return None
    lists = [each for each in columns if each.lists and each.kind[0] in ("tokens", "labels")]
    pairs = [
        (words, tags)
        for words in lists
        for tags in lists
        if words is not tags
        and [*map(len, words.lists)] == [*map(len, tags.lists)]
        and any(words.lists)
        and all(isinstance(one, str) for each in words.lists for one in each)
    ]
    if not pairs:
        return None
    words, tags = min(pairs, key=lambda pair: (pair[1].rank("tags") + pair[0].rank("tokens"), len(_elements(pair[1]))))
    sure: Confidence = "high" if words.is_named_as("tokens") or tags.is_named_as("tags") else "medium"
    what = f"{tags.name!r} holds one of {len(_elements(tags))} tags for each word of {words.name!r}"
    if all(one.isdecimal() for one in _elements(tags)):
        sure, what = "low", f"{what}, but they are numbers, which say nothing of spans: write names such as O and B-PER"
    return _made("token-classification", what, sure, tokens=(words, words.kind[1], sure), tags=(tags, what, sure))


def _images(columns: Sequence[Column], task: Task | None) -> Guess | None:
    if task not in (None, "image-classification"):
        return None
    images = sorted((each for each in columns if each.kind[0] == "image"), key=lambda each: each.rank("image"))
    label = _best_label([each for each in columns if each not in images], ("label",), task)
    if not images or label is None:
        return None
    said = f"{images[0].name!r} holds paths of image files, which lie beside the table"
    return _made("image-classification", f"{said}, and {label[0].name!r} names their classes", label[2],
                 image=(images[0], said, "high"), label=label)  # fmt: skip


def _prompts(columns: Sequence[Column], task: Task | None) -> Guess | None:
    if task not in (None, "causal-lm"):
        return None
    pair = _named_pair(columns, _PROMPTS)
    if pair is None:
        return None
    prompt, completion = pair
    is_written = completion.kind[0] == "text" or (task == "causal-lm" and bool(completion.strings))
    if not prompt.strings or not is_written:
        return None
    what = f"{completion.name!r} seems to be what is to be written when {prompt.name!r} is read"
    return _made(
        "causal-lm", what, "medium" if task is None else "high",
        prompt=(prompt, prompt.kind[1], "high"), completion=(completion, completion.kind[1], "high"),
    )  # fmt: skip


def _labelled(columns: Sequence[Column], task: Task | None) -> Guess | None:
    if task not in (None, "text-classification"):
        return None
    label = _best_label(columns, ("label", "labels"), task)
    if label is None:
        return None
    texts = _best_texts([each for each in columns if each is not label[0]])
    if texts is None:
        return None
    column, reason, sure = label
    several = column.kind[0] == "labels"
    if column.is_whole and (column.is_named_as("number") or column.n_distinct > 5) and column.rank("label") != 0:
        sure = "low"
        reason = f"{reason}; if they are amounts and not classes, take text-regression"
    what = f"{column.name!r} names the {'classes' if several else 'class'} of each text"
    separator = column.separator if several and column.strings else None
    return _made("text-classification", what, sure, separator, **texts, label=(column, reason, sure))


def _numbered(columns: Sequence[Column], task: Task | None) -> Guess | None:
    if task not in (None, "text-regression"):
        return None
    numbers = [each for each in columns if each.numbers and not (task is None and _is_id(each))]
    if not numbers:
        return None
    number = min(numbers, key=lambda each: (_is_id(each), each.rank("number"), -columns.index(each)))
    texts = _best_texts([each for each in columns if each not in numbers])
    if texts is None:
        return None
    sure: Confidence = "high" if number.is_named_as("number") else "medium" if len(numbers) == 1 else "low"
    ends = f"between {min(number.numbers):g} and {max(number.numbers):g}"
    what = f"{number.name!r} holds {number.n_distinct} different numbers {ends}"
    return _made("text-regression", f"{what}, an amount rather than a class", sure, **texts, label=(number, what, sure))


def _texts(columns: Sequence[Column], task: Task | None) -> Guess | None:
    if task not in (None, "causal-lm"):
        return None
    texts = [each for each in columns if each.kind[0] == "text"]
    if not texts or (task is None and len(texts) > 1):
        return None
    text = min(texts, key=lambda each: (each.rank("text"), -each.length))
    sure: Confidence = "medium" if text.is_named_as("text") and len(columns) == 1 else "low"
    return _made(
        "causal-lm", f"there are texts in {text.name!r} and no column of labels", sure, text=(text, text.kind[1], sure)
    )


_Found = tuple[Column, str, Confidence]


def _best_label(columns: Sequence[Column], kinds: Sequence[ColumnKind], task: Task | None) -> _Found | None:
    """Choose the column of classes: by its name first, then the last, as tables are usually written."""
    found = [each for each in columns if each.kind[0] in kinds and (each.n_distinct > 1 or each.is_named_as("label"))]
    if not found:
        # A few rows need not repeat a class, and a task that is asked for may have rare ones
        found = [each for each in columns if each.is_named_as("label") and _may_be_classes(each)
                 and (task is not None or len(each.values) < FEW_ROWS)]  # fmt: skip
    if not found:
        return None
    best = min(found, key=lambda each: (each.rank("label"), -columns.index(each)))
    others = [each.name[:60] for each in found if each is not best]
    if best.n_distinct < 2:
        return best, f"{best.kind[1]}; only one class is in the rows that were read", "low"
    if best.is_named_as("label"):
        return best, f"{best.kind[1]}, and its name is that of a label", "high"
    if others:
        return best, f"{best.kind[1]}; {', '.join(map(repr, others[:3]))} may be meant as well", "low"
    return best, f"{best.kind[1]}, and no other column does", "medium"


def _best_texts(columns: Sequence[Column]) -> dict[str, _Found] | None:
    """Choose the text, or the two texts that belong together, by the columns' names, then by their length."""
    texts = [each for each in columns if each.kind[0] == "text"]
    pair = _named_pair(texts, _PAIRS)
    if pair is not None:
        reason = f"{pair[0].name!r} and {pair[1].name!r} are names of two texts that belong together"
        return {"text": (pair[0], reason, "high"), "text_pair": (pair[1], reason, "high")}
    if not texts:
        # Texts of a word or two, such as names of products; or of few rows
        texts = [
            each for each in columns if each.strings and each.kind[0] in ("other", "label") and each.is_named_as("text")
        ]
    if not texts:
        return None
    best = min(texts, key=lambda each: (each.rank("text"), -each.length))
    if best.is_named_as("text"):
        return {"text": (best, f"{best.kind[1]}, and its name is that of a text", "high")}
    if len(texts) == 1:
        return {"text": (best, f"{best.kind[1]}, and no other column does", "medium")}
    return {"text": (best, f"{best.kind[1]}, the longest of {len(texts)} columns of texts", "low")}


def _named_pair(columns: Sequence[Column], pairs: Sequence[tuple[str, str]]) -> tuple[Column, Column] | None:
    by_name = {plain_name(column.name): column for column in columns}
    return next(((by_name[one], by_name[two]) for one, two in pairs if one in by_name and two in by_name), None)


def _may_be_classes(column: Column) -> bool:
    return column.is_whole or (
        bool(column.strings) and max(map(len, column.strings)) <= LONGEST_CLASS and not column.numbers
    )


def _is_id(column: Column) -> bool:
    """Whether a column counts the rows, or gives each a number of its own that only rises."""
    steps = zip(column.numbers, column.numbers[1:], strict=False)
    return (
        column.is_whole
        and len(column.numbers) > 2
        and all(one < two for one, two in steps)
        and not column.is_named_as("number")
    )


def _elements(column: Column) -> set[str]:
    return {str(one) for each in column.lists for one in each}


def _said(column: Column) -> str:
    return f"{column.name[:60]!r}: {column.kind[1]}"


def _made(task: Task, reason: str, sure: Confidence, separator: str | None = None, /, **columns: _Found) -> Guess:
    return Guess(
        task=task,
        reason=reason,
        confidence=sure,
        columns=[
            GuessedColumn(field=field, column=column.name, reason=why, confidence=how_sure)
            for field, (column, why, how_sure) in columns.items()
        ],
        label_separator=separator,
    )
