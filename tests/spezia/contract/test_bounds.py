"""What a spec may cost to check: however it is made, few errors are found, and none of them takes long."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from spezia.contract import wire
from spezia.contract.ranges import SearchSpace
from spezia.contract.space import MAX_DEPTH, active_dimension, depths_of, each_dimension
from spezia.contract.space_rules import enqueued_errors
from spezia.contract.study_spec import MAX_ENQUEUED, MAX_RANGES, POSTED, StudySpec
from spezia.contract.wire import MAX_ERRORS
from tests.service.hand_worker import spec

FLAG = {"type": "categorical", "choices": [0, 1]}
SECONDS = 1.0
"""Of the processor: what is tested here takes a few hundredths, and took ten without its bound."""


def script(**changes: Any) -> dict[str, Any]:
    body = {"task": "script", "script": "train.py", "objective": {"metric": "loss", "direction": "minimize"}}
    return body | {"search_space": {"x": {"type": "float", "low": 0, "high": 1}}, "n_trials": 100_000} | changes


def refused(body: dict[str, Any], context: Any = None) -> list[str]:
    """Paths of the errors, found in time."""
    began = time.thread_time()
    with pytest.raises(ValidationError) as raised:
        StudySpec.model_validate(body, context=context)
    assert time.thread_time() - began < SECONDS
    return [".".join(map(str, error["loc"])) for error in raised.value.errors(include_url=False)]


def circle(n: int, n_parents: int) -> dict[str, Any]:
    """Parameters of which each depends on the next ones."""
    names = [f"p{index:02}" for index in range(n)]
    space = {}
    for index, name in enumerate(names):
        parents = [names[(index + step) % n] for step in range(1, n_parents + 1)]
        halves = parents[: n_parents // 2], parents[n_parents // 2 :]
        space[name] = [FLAG | {"when": dict.fromkeys(half, value)} for value, half in enumerate(halves)]
    return space


def test_parameters_that_depend_on_each_other_in_circles_are_told_soon() -> None:
    paths = refused(script(search_space=circle(20, 16)))
    assert paths == [f"search_space.p{index:02}" for index in range(20)]


FAULTS: dict[str, dict[str, Any]] = {
    "unknown fields": script(**{f"field{index}": 1 for index in range(1_000)}),
    "unknown hyperparameters": spec(search_space={f"p{index}": FLAG for index in range(64)}),
    "unknown fixed": spec(fixed={f"p{index}": 1 for index in range(1_000)}),
    "fixed of no type": spec(fixed={f"p{index}": [] for index in range(1_000)}),
    "bad names": script(fixed={f"p {index}": 1 for index in range(1_000)}),
    "ranges of no type": script(search_space={f"p{index}": {"type": 1} for index in range(64)}),
    "unknown fields of ranges": script(
        search_space={f"p{index}": FLAG | {f"u{number}": 1 for number in range(500)} for index in range(64)}
    ),
    "unknown parents": script(search_space={f"p{index}": FLAG | {"when": {"nobody": 1}} for index in range(64)}),
    "enqueued elsewhere": script(enqueue=[{f"p{index}": 1 for index in range(64)}] * 1_000),
    "enqueued outside": script(enqueue=[{"x": 2}] * 1_000),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_of_many_errors_the_first_are_told(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(name: str, *args: Any, **kwargs: Any) -> list[str]:
        compared.append(name)
        return []

    monkeypatch.setattr(wire, "get_close_matches", compare)
    assert len(refused(FAULTS[fault])) == MAX_ERRORS
    # each range compares its own
    assert len(compared) <= MAX_ERRORS * (64 if fault == "unknown fields of ranges" else 1)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (script(search_space={f"p{index}": None for index in range(10_000)}), "search_space"),
        (
            script(search_space={"x": FLAG | {"when": dict.fromkeys(map(str, range(10_000)))}}),
            "search_space.x.one.categorical.when",
        ),
        (script(enqueue=[1] * 90_000), "enqueue.0"),
    ],
    ids=["parameters", "conditions", "params to try"],
)
def test_what_is_too_much_is_counted_before_it_is_looked_at(body: dict[str, Any], path: str) -> None:
    assert refused(body) == [path]


@pytest.mark.parametrize("task", ["script", "text-classification"])
def test_values_that_are_no_values_are_told_once_a_list(task: str) -> None:
    wrong = {"type": "categorical", "choices": [None] * 64, "when": {"x": [None] * 64}}
    paths = refused(script(search_space={f"p{index}": wrong for index in range(64)}, task=task))
    assert len(paths) == MAX_ERRORS
    assert not [path for path in paths if ".63" in path]


def test_long_names_are_neither_compared_nor_listed() -> None:
    names = [f"{index}".ljust(20_000, "x") for index in range(50)]
    body = script(search_space=dict.fromkeys(names, FLAG), enqueue=[{f"{name}y": 1 for name in names}])
    with pytest.raises(ValidationError) as raised:
        StudySpec.model_validate(body)
    assert max(len(error["msg"]) for error in raised.value.errors()) < 30_000
    refused(body)


def test_a_message_lists_no_more_than_a_person_reads() -> None:
    choices = [f"{index}".ljust(5_000, "v") for index in range(64)]
    when = {"a": choices[:60]}
    space = {"a": {"type": "categorical", "choices": choices}, "b": FLAG | {"when": when}}
    body = script(search_space=space, enqueue=[{"a": "no"}, {"b": 1}])
    with pytest.raises(ValidationError) as raised:
        StudySpec.model_validate(body)
    messages = [error["msg"] for error in raised.value.errors()]
    assert len(messages) == 2
    assert max(map(len, messages)) < 6_000


def many_ranges(n: int) -> dict[str, Any]:
    """A parameter with choices, and others with a range for each of them."""
    branches = [{"type": "int", "low": 0, "high": 1, "when": {"a": number}} for number in range(64)]
    space: dict[str, Any] = {"a": {"type": "categorical", "choices": list(range(64))}}
    for index in range(0, n - 1, 64):
        space[f"b{index}"] = branches[: n - 1 - index]
    return space


TOO_MUCH: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "params to try": (
        script(enqueue=[{}] * MAX_ENQUEUED),
        script(enqueue=[{}] * (MAX_ENQUEUED + 1)),
        "enqueue",
    ),
    "values of params to try": (
        script(search_space=dict.fromkeys(map(chr, range(97, 117)), FLAG), enqueue=[{}] * 500),
        script(search_space=dict.fromkeys(map(chr, range(97, 117)), FLAG), enqueue=[{}] * 501),
        "enqueue",
    ),
    "ranges": (
        script(search_space=many_ranges(MAX_RANGES)),
        script(search_space=many_ranges(MAX_RANGES + 3)),
        "search_space",
    ),
    "candidates": (
        script(sampler={"name": "tpe", "options": {"n_ei_candidates": 1_000}}),
        script(sampler={"name": "tpe", "options": {"n_ei_candidates": 1_001}}),
        "sampler.options.n_ei_candidates",
    ),
    "reference points": (
        script(sampler={"name": "nsga3", "options": {"dividing_parameter": 3}}),
        script(
            sampler={"name": "nsga3", "options": {"dividing_parameter": 1_000}},
            objective=[{"metric": f"m{index}", "direction": "minimize"} for index in range(3)],
        ),
        "sampler.options.dividing_parameter",
    ),
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_a_new_limit_is_of_what_is_posted_and_not_of_what_is_stored(kind: str) -> None:
    just_fits, too_much, path = TOO_MUCH[kind]
    StudySpec.model_validate(just_fits, context=POSTED)
    assert refused(too_much, POSTED) == [path]
    stored = StudySpec.model_validate(too_much).model_dump_json()
    assert StudySpec.model_validate_json(stored).model_dump_json() == stored


SPACES = st.dictionaries(
    st.sampled_from("abcdef"),
    st.lists(st.lists(st.sampled_from("abcdefg"), max_size=3), min_size=1, max_size=3),
    min_size=1,
)


@given(SPACES)
def test_depths_are_those_of_the_longest_chains(parents: dict[str, list[list[str]]]) -> None:
    class Given:
        """A range of which nothing but its condition matters."""

        def __init__(self, names: list[str]) -> None:
            self.when = dict.fromkeys(names, 0)

    space: Any = {name: [Given(names) for names in ranges] for name, ranges in parents.items()}

    def depth(name: str, above: int = 0) -> int:
        """By going up each chain, as it was done when it took minutes."""
        if above > MAX_DEPTH:
            return 1
        over = {parent for names in parents.get(name, []) for parent in names}
        return max((1 + depth(parent, above + 1) for parent in over), default=0)

    assert depths_of(space) == {name: min(depth(name), MAX_DEPTH + 1) for name in parents}


def test_the_ranges_of_one_parameter_are_found_by_its_name() -> None:
    space: Any = many_ranges(200)
    assert [one for name in space for one in each_dimension(space, name)] == list(each_dimension(space))
    assert list(each_dimension(space, "none")) == []


PARENTS = ("a", "b")
CONDITIONS = st.lists(
    st.dictionaries(st.sampled_from(PARENTS), st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)),
    min_size=2,
    max_size=4,
)


@given(CONDITIONS, st.dictionaries(st.sampled_from(PARENTS), st.integers(0, 2)))
def test_params_to_try_are_held_to_the_range_that_their_trial_has(
    conditions: list[dict[str, list[int]]], known: dict[str, int]
) -> None:
    parents = {name: {"type": "categorical", "choices": [0, 1, 2]} for name in PARENTS}
    ranges = [{"type": "int", "low": bit, "high": bit, "when": when} for bit, when in enumerate(conditions)]
    space = TypeAdapter(SearchSpace).validate_python(parents | {"x": ranges})
    active = active_dimension(space, "x", known)
    wrong = {
        value: [message for path, message, _ in enqueued_errors(space, [{"x": value}], known) if path == (0, "x")]
        for value in range(len(ranges))
    }
    right = [value for value, messages in wrong.items() if not messages]
    assert right == ([] if active is None else [ranges.index(active.distribution.model_dump(exclude_unset=True))])
