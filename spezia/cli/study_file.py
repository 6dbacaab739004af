"""A study as a file: YAML 1.2, where ``1e-6`` is a number and ``no`` a string, or JSON."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from spezia.cli.paths import PathError, with_absolute_paths
from spezia.cli.shorthand import with_shorthand_expanded
from spezia.contract.plain_words import plain_errors
from spezia.contract.study_spec import POSTED, StudySpec
from spezia.contract.wire import ONE, SEVERAL

_OTHER_YAML = re.compile(r"\ufeff?(?:[ \t]*(?:#.*)?\r?\n)*%YAML[ \t]+(?!1\.2\s)(\S+)")


class StudyFileError(ValueError):
    """What is wrong with a study file: file, line, field and reason, one line for each."""


def load_study_file(path: Path) -> StudySpec:
    """Read a study, whose relative paths are relative to the folder of the file.

    A study without a name is named after its file, so that running the file again finds it.

    Raises:
        StudyFileError: The file cannot be read, is no YAML, or is no study.
    """
    text = _read(path)
    if other := _OTHER_YAML.match(text):
        raise StudyFileError(
            f"{path}: YAML {other[1]} is not read, where `no` may be false and 010 eight; a study file is YAML 1.2, so "
            "drop the line %YAML"
        )
    try:
        document = YAML(typ="safe", pure=True).load(text)
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise StudyFileError(_describe_syntax(path, error)) from None
    except (YAMLError, ValueError, KeyError) as error:
        raise StudyFileError(_describe_misfit(path, text) or f"{path}: {error}") from None
    except RecursionError:
        raise StudyFileError(f"{path}: lists or mappings are nested too deeply for a study") from None
    if not isinstance(document, dict):
        raise StudyFileError(f"{path}: a study is a mapping: `task: text-classification`, `model: …`, …")
    try:
        folder = path.absolute().parent
        body = with_absolute_paths(with_shorthand_expanded(document), folder)
        spec = StudySpec.model_validate(body, context=POSTED)
    except PathError as error:
        raise StudyFileError(_describe(path, root, error.field.split("."), str(error))) from None
    except ValidationError as error:
        problems = [_describe(path, root, loc, message) for loc, message, _ in plain_errors(error.errors())]
        raise StudyFileError("\n".join(problems)) from None
    return spec if spec.name else spec.model_copy(update={"name": name_after(path)})


def name_after(path: Path) -> str:
    """Return the name that a study has after a file."""
    return re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")[:64] or "study"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise StudyFileError(f"{path}: not UTF-8: {error}") from None
    except OSError as error:
        raise StudyFileError(f"{path}: {error.strerror}") from None


def _describe_syntax(path: Path, error: MarkedYAMLError) -> str:
    # a duplicate key brings several lines of advice on ruamel's own settings
    reason = str(error.problem or error.context or error).split("\n")[0]
    if reason.startswith("but ") and error.context:
        reason = f"{error.context}, {reason}"
    mark = error.problem_mark or error.context_mark
    return f"{path}:{mark.line + 1}:{mark.column + 1}: {reason}" if mark else f"{path}: {reason}"


def _describe_misfit(path: Path, text: str) -> str | None:
    """Say which value is none of its kind, such as a date of month 13; the error of that knows no place."""
    for node in _scalars(YAML(typ="safe", pure=True).compose(text)):
        try:
            YAML(typ="safe", pure=True).load(f"!<{node.tag}> {json.dumps(node.value)}")
        except (YAMLError, ValueError, KeyError):
            mark, kind = node.start_mark, str(node.tag).rpartition(":")[2]
            mend = "put it in quotes, or drop its tag if it has one"
            return f"{path}:{mark.line + 1}:{mark.column + 1}: {node.value!r} is no {kind}; {mend}"
    return None


def _scalars(root: Node | None) -> Iterator[ScalarNode]:
    """Yield the single values of a document in their order, each once though several aliases name it."""
    seen: set[int] = set()
    waiting = [] if root is None else [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, ScalarNode):
            yield node
        elif isinstance(node, MappingNode):
            waiting += [each for pair in reversed(node.value) for each in reversed(pair)]
        elif isinstance(node, SequenceNode):
            waiting += reversed(node.value)


def _describe(path: Path, root: Node | None, loc: Sequence[int | str], reason: str) -> str:
    field, line = _locate(root, loc)
    return f"{path}:{line}: {field}: {reason}" if field else f"{path}: {reason}"


def _locate(node: Node | None, loc: Sequence[int | str]) -> tuple[str, int]:
    """Return the field as a person would write it, and the line of its nearest part in the file.

    pydantic's path names the members of unions too (``search_space.epochs.int.low``); what the file does
    not have is left out, except at the end, where it is a field that is missing.
    """
    field, line = "", 1
    for depth, part in enumerate(loc):
        found = _child(node, part)
        if found is not None:
            node, line = found
        elif depth < len(loc) - 1 or not isinstance(node, MappingNode) or part in (ONE, SEVERAL):
            continue
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else part
    return field, line


def _child(node: Node | None, part: int | str) -> tuple[Node, int] | None:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line + 1
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item, item.start_mark.line + 1
    return None
