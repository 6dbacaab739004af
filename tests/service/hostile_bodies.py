"""Bodies that cost as much as they may, for every call that takes one, and a search for the worst of them.

A kind of body has knobs; the search turns them, first all at random and then one or two of the worst body so far.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from random import Random
from typing import Any
from uuid import uuid4

from service.routes.middleware.body_limit import MAX_BODY_BYTES
from service.routes.strict_json import MAX_CONTAINERS, MAX_FIELDS
from spezia.contract.hyperparameters import HYPERPARAMETERS, METHODS
from spezia.contract.schedules import SCHEDULES
from spezia.contract.study_spec import MAX_ENQUEUED, MAX_RANGES
from tests.service.hand_worker import FACTS, HandWorker, spec

Json = Any
Knobs = dict[str, Any]

_MANY_REPORTS = 1_000

SHARES = (1, 1, 2, 4, 16, 64)
"""Sizes of bodies, each as a share of the largest that is read."""


@dataclass(frozen=True)
class Kind:
    """A way to build bodies of a call."""

    build: Callable[..., bytes]
    """Builds a body of about so many bytes, its first argument; the others are the knobs."""
    knobs: Mapping[str, Sequence[Any]]
    """Values that each knob has."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a service, and the kinds of bodies to make it with."""

    method: str
    template: str
    content_type: str
    kinds: Mapping[str, Kind]
    places: Mapping[str, Any]
    """What stands in the template, and the token of the lease that the call is made under."""

    @property
    def path(self) -> str:
        """Path as it is now."""
        return self.template.format(**self.places)

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers as they are now."""
        return {"Lease-Token": self.places["token"], "Content-Type": self.content_type}


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A body that was sent, and what its answer cost."""

    kind: str
    share: int
    knobs: Knobs
    cost: float
    n_bytes: int

    def body(self, call: Call, *, share: int | None = None) -> bytes:
        """Build such a body again, or one of another size."""
        return call.kinds[self.kind].build(MAX_BODY_BYTES // (share or self.share), **self.knobs)

    def again(self, call: Call, cost: Callable[[Call, bytes], float]) -> "Tried":
        """Send such a body again; the cheaper time counts."""
        body = self.body(call)
        return replace(self, cost=min(self.cost, cost(call, body)), n_bytes=len(body))


def search(call: Call, cost: Callable[[Call, bytes], float], *, n_tries: int, seed: int) -> list[Tried]:
    """Try ``n_tries`` bodies of each kind and return the worst of each kind, the worst of all first."""
    random, tried = Random(seed), []
    for name, kind in call.kinds.items():
        values = {**kind.knobs, "share": SHARES}
        worst: Tried | None = None
        for turn in range(n_tries):
            turned = list(values) if worst is None or turn <= n_tries // 2 else random.sample(list(values), k=2)
            before = {} if worst is None else worst.knobs | {"share": worst.share}
            knobs = before | {knob: random.choice(values[knob]) for knob in turned}
            share = knobs.pop("share")
            one = Tried(kind=name, share=share, knobs=knobs, cost=math.inf, n_bytes=0)
            one = one.again(call, cost)
            if worst is None or one.cost > worst.cost:
                one = one.again(call, cost)  # else what cost much by chance would end the search
                worst = one if worst is None or one.cost > worst.cost else worst
        assert worst is not None
        tried.append(worst)
    return sorted(tried, key=lambda one: -one.cost)


def calls(http: Any) -> tuple[dict[str, Call], Callable[[], None]]:
    """Return every call that the service's OpenAPI document says takes a body, by its method and path.

    A study, a trial of it that runs, its worker and a webhook are there for them. What is returned second renews the
    trial's lease; if that has ended, it takes another trial.
    """
    assert http.post("/v1/studies", json=spec(name="victim", n_trials=100_000)).status_code == 201
    worker = HandWorker(http)
    worker.prepare()
    # a worker that looks for work gets its unfinished trial back, under another lease
    another = HandWorker(http)
    places: dict[str, Any] = {"name": "victim", "number": 0, "file": "model.bin", "worker_id": another.worker_id}
    places["n_reports"] = 0
    places["sha256"] = http.post("/v1/datasets", content=b"text,label\na,b\n").json()["sha256"]
    places["webhook_id"] = http.post("/v1/webhooks", json={"url": "https://example.com/"}).json()["webhook_id"]

    def renew() -> None:
        if "lease_id" not in places or worker.heartbeat(places) != "continue":
            taken = worker.take()
            places.update({"n_reports": 0, "lease_id": taken["lease_id"], "token": taken["token"]})

    def begin_anew() -> None:
        worker.finish(places)
        renew()

    renew()
    own = {
        "POST /v1/studies": {"specs": SPECS},
        "POST /v1/studies:validate": {"specs": SPECS},
        "POST /v1/leases/report": {"reports": reports(places, begin_anew)},
        "POST /v1/leases/heartbeat": {"leases": LEASES},
        "POST /v1/leases/{lease_id}/tell": {"facts": FACTS_TOLD},
    }
    found = {}
    for path, verbs in http.get("/openapi.json").json()["paths"].items():
        for verb, operation in verbs.items():
            if "requestBody" in operation:
                content = operation["requestBody"]["content"]
                name = f"{verb.upper()} {path}"
                examples = content.get("application/json", {}).get("examples", {})
                bodies = [one["value"] for one in examples.values()]
                if path.endswith("/dispatch"):
                    bodies = [one | {"wait_seconds": 0.0} for one in bodies]
                found[name] = Call(
                    method=verb.upper(),
                    template=path,
                    content_type=next(iter(content)),
                    kinds={"shapes": SHAPES, **own.get(name, {})} | ({"changes": changes(bodies)} if bodies else {}),
                    places=places,
                )
    return found, renew


def _json(body: Json) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _fitting(n_bytes: int, build: Callable[[int], Json], n: int) -> bytes:
    """Build a body of ``n`` parts, or of as many as fit."""
    while len(sent := _json(build(n))) > n_bytes and n > 1:
        n = min(n - 1, n * n_bytes // len(sent))
    return sent[:n_bytes]


# --- specs


def _spec(
    n_bytes: int,
    *,
    task: str,
    n_parents: int,
    n_values: int,
    n_names: int,
    n_branches: int,
    n_enqueued: int,
    n_fixed: int,
    text: int,
    sampler: str,
    fault: str,
) -> bytes:
    """Parameters with choices, others with a range for each value of the last of those, and params to try first."""
    is_script = task == "script"
    names = [f"p{index}".ljust(min(text, 64), "x") for index in range(64)] if is_script else list(_NUMBERS)
    values: list[Json] = [f"{index}".ljust(text, "v") for index in range(n_values)] if is_script else list(SCHEDULES)
    parents = names[:n_parents] if is_script else ["lr_schedule"][:n_parents]
    n_branches = min(n_branches, len(values)) if parents else 1
    room = (MAX_RANGES - len(parents)) // n_branches
    children = [name for name in names if name not in parents][: min(n_names, room)]
    when = dict.fromkeys(parents, values)
    whens = [when | {parents[-1]: value} for value in values[:n_branches]] if n_branches > 1 else [when]
    ranges = [{"type": "float", "low": 0.25, "high": 0.5, "when": one} for one in whens]
    space: dict[str, Json] = {name: {"type": "categorical", "choices": values} for name in parents}
    space |= dict.fromkeys(children, ranges if len(ranges) > 1 else ranges[0])
    enqueued = {name: values[n_branches - 1] if name in parents else 0.5 for name in space}
    body: dict[str, Json] = {
        "task": task,
        "search_space": space,
        "sampler": {"name": sampler if sampler in ("tpe", "random", "nsga3") or not parents else "tpe"},
        "n_trials": 100_000,
        "baseline": False,
        "fixed": {f"f{index}": values[0] for index in range(n_fixed)} if is_script else {},
    }
    if is_script:
        body |= {"script": "train.py", "objective": {"metric": "loss", "direction": "minimize"}}
    else:
        body |= {"model": {"name": "m"}, "data": {"train": "a"}}
    change = FAULTS.get(fault, dict)
    return _fitting(n_bytes, lambda n: change(body | {"enqueue": [enqueued] * n}), n_enqueued)


_NUMBERS = [name for name, known in HYPERPARAMETERS.items() if known.type == "float" and known.methods == METHODS]


def _each_range(body: Json, change: Callable[[Json], Json]) -> Json:
    space = {
        name: [change(one) for one in entry] if isinstance(entry, list) else change(entry)
        for name, entry in body["search_space"].items()
    }
    return body | {"search_space": space}


def _in_a_circle(body: Json) -> Json:
    names = list(body["search_space"])
    space = {}
    for index, name in enumerate(names):
        others = [names[(index + step) % len(names)] for step in range(1, 17)]
        halves = dict.fromkeys(others[:8], 0), dict.fromkeys(others[8:], 1)
        space[name] = [{"type": "categorical", "choices": [0, 1], "when": half} for half in halves]
    return body | {"search_space": space}


def _in_a_chain(body: Json) -> Json:
    names = list(body["search_space"])
    space: Json = {names[0]: {"type": "categorical", "choices": [0, 1]}}
    for before, name in pairwise(names):
        space[name] = space[names[0]] | {"when": {before: [0, 1]}}
    return body | {"search_space": space}


FAULTS: dict[str, Callable[[Json], Json]] = {
    "unknown fields": lambda body: body | {f"u{index}": 1 for index in range(900)},
    "unknown fields of ranges": lambda body: _each_range(body, lambda one: one | {f"u{n}": n for n in range(200)}),
    "names that are nearly right": lambda body: body | {f"n_trial{index}": 1 for index in range(20)},
    "long names that are nearly right": lambda body: (
        body | {f"n_trials{index}".ljust(64, "s"): 1 for index in range(20)}
    ),
    "ranges of other tools": lambda body: _each_range(
        body, lambda _: {"distribution": "v" * 10_000, "values": [1] * 65}
    ),
    "long types": lambda body: _each_range(body, lambda one: one | {"type": "float".ljust(10_000, "v")}),
    "null values": lambda body: _each_range(body, lambda _: {"type": "categorical", "choices": [None] * 64}),
    "null conditions": lambda body: _each_range(
        body, lambda one: one | {"when": dict.fromkeys("abcdefgh", [None] * 64)}
    ),
    "many conditions": lambda body: _each_range(body, lambda one: one | {"when": {str(n): 0 for n in range(500)}}),
    "unknown parents": lambda body: _each_range(body, lambda one: one | {"when": {"nobody": 0}}),
    "in a circle": _in_a_circle,
    "in a chain": _in_a_chain,
    "overlapping ranges": lambda body: _each_range(body, lambda one: one | {"when": {}}),
    "large numbers": lambda body: _each_range(body, lambda _: {"type": "int", "low": -(2**53), "high": 2**53}),
    "many steps": lambda body: _each_range(body, lambda _: {"type": "float", "low": 0.0, "high": 1.0, "step": 1e-15}),
    "a value outside": lambda body: body | {"enqueue": [one | {next(iter(one)): 7} for one in body["enqueue"]]},
    "values without their condition": lambda body: (
        body | {"enqueue": [{name: 1} for name in body["search_space"]] * 15}
    ),
    "long names to try": lambda body: body | {"enqueue": [{f"{n}".ljust(9_000, "x"): 1 for n in range(100)}]},
    "too many to try": lambda body: body | {"enqueue": [{}] * MAX_CONTAINERS},
    "not to be tried": lambda body: body | {"enqueue": [None] * 200_000},
    "many objectives": lambda body: body | {"objective": [{"metric": "m"}] * 60_000},
    "four objectives": lambda body: (
        body
        | {"objective": [{"metric": f"m{n}", "direction": "minimize"} for n in range(4)], "pruner": {"name": "none"}}
    ),
    "many constraints": lambda body: body | {"constraints": [{"metric": "loss", "at_most": n} for n in range(9)]},
    "very many constraints": lambda body: body | {"constraints": [{"metric": "loss", "at_most": 1}] * 30_000},
    "many columns": lambda body: body | {"data": {"train": "a", "columns": {f"c{n}": "c" for n in range(1_000)}}},
    "a preset": lambda body: body | {"preset": "encoder-small-data"},
    "a dense reference": lambda body: body | {"sampler": {"name": "nsga3", "options": {"dividing_parameter": 100_000}}},
    "pilots": lambda body: body | {"start_small": {"trials": 100_000}},
}
"""What is done to a spec that would be right."""

SPECS = Kind(
    _spec,
    {
        "task": ("script", "text-classification"),
        "n_parents": range(9),
        "n_values": (2, 10, 24, 40, 64),
        "n_names": (1, 8, 25, 64),
        "n_branches": (1, 2, 24, 64),
        "n_enqueued": (0, 30, 150, 300, MAX_ENQUEUED, MAX_ENQUEUED + 1),
        "n_fixed": (0, 10, MAX_FIELDS),
        "text": (1, 60, 250, 5_000),
        "sampler": ("tpe", "random", "nsga3", "grid", "cmaes"),
        "fault": ("none",) * len(FAULTS) + tuple(FAULTS),
    },
)
"""Specs as large as a service takes them, and what comes close to one."""


# --- bodies of any call

_SHAPES: dict[str, Callable[[int], bytes]] = {
    "objects": lambda n: b"[" + b",".join([b"{}"] * (n // 3)) + b"]",
    "as many objects as may be": lambda n: b"[" + b",".join([b"{}"] * min(n // 3, MAX_CONTAINERS - 1)) + b"]",
    "small objects": lambda n: b"[" + b",".join([b'{"a":1}'] * min(n // 8, MAX_CONTAINERS - 1)) + b"]",
    "lists in lists": lambda n: b"[" + b",".join([b"[" * 500 + b"]" * 500] * (n // 1_001)) + b"]",
    "some lists in lists": lambda n: b"[" + b",".join([b"[" * 500 + b"]" * 500] * min(n // 1_001, 199)) + b"]",
    "deep": lambda n: b"[" * (n // 2) + b"]" * (n // 2),
    "deep objects": lambda n: b'{"a":' * (n // 6) + b"1" + b"}" * (n // 6),
    "numbers": lambda n: b"[" + b",".join([b"1"] * (n // 2)) + b"]",
    "exact numbers": lambda n: b"[" + b",".join([b"1.2345678901234567e-300"] * (n // 24)) + b"]",
    "long numbers": lambda n: b"[" + b",".join([b"9" * 4_300] * (n // 4_301)) + b"]",
    "a long fraction": lambda n: b"0." + b"9" * (n - 2),
    "fields": lambda n: b"{" + b",".join(b'"%x":1' % index for index in range(n // 9)) + b"}",
    "a field twice": lambda n: b"{" + b",".join(b'"%x":1' % (index % (n // 9 - 1)) for index in range(n // 9)) + b"}",
    "a thousand fields": lambda n: (
        b"[" + b",".join([b"{" + b",".join(b'"%x":1' % index for index in range(1_000)) + b"}"] * (n // 8_000)) + b"]"
    ),
    "a text": lambda n: b'"' + b"a" * (n - 2) + b'"',
    "escapes": lambda n: b'"' + b"\\u00e9" * (n // 6 - 1) + b'"',
    "halves of letters": lambda n: b'{"name":"' + b"\\ud800" * (n // 6 - 2) + b'"}',
    "quotes": lambda n: b'"' + b'\\"' * (n // 2 - 1),
    "brackets in a text": lambda n: b'{"a":"' + b"[{" * (n // 2 - 5) + b'"}',
    "an open text of brackets": lambda n: b'{"a":"' + b'[\\"' * (n // 3 - 5),
    "spaces": lambda n: b" " * (n - 2) + b"{}",
    "lines": lambda n: b"\n" * (n - 2) + b"}{",
    "null bytes": lambda n: b"\0" * n,
    "no UTF-8": lambda n: b'{"a":"' + b"\xff" * (n - 8) + b'"}',
}
SHAPES = Kind(lambda n_bytes, *, shape: _SHAPES[shape](n_bytes), {"shape": tuple(_SHAPES)})
"""Bodies that are long, deep, wide, or full of what takes long to read."""

_VALUES: dict[str, Callable[[Json, int], Json]] = {
    "null": lambda _, n: None,
    "a long text": lambda _, n: "x" * n,
    "letters of four bytes": lambda _, n: "\U0001f600" * (n // 12),
    "halves of letters": lambda _, n: "\ud800" * (n // 6),
    "a large number": lambda _, n: int("9" * min(n, 4_000)),
    "a list of nothing": lambda _, n: [None] * (n // 5),
    "a list of texts": lambda _, n: [f"{index}" for index in range(n // 9)],
    "a list of objects": lambda _, n: [{}] * min(n // 3, MAX_CONTAINERS - 100),
    "the same again and again": lambda value, n: [value] * min(MAX_CONTAINERS // 3, n // (len(_json(value)) + 1)),
    "its entries again and again": lambda value, n: (
        value * min(MAX_CONTAINERS // 3, n // len(_json(value))) if isinstance(value, list) else [value]
    ),
    "a wide object": lambda _, n: {f"w{index}": 1 for index in range(min(n // 10, MAX_FIELDS))},
    "a wide object of objects": lambda _, n: {
        f"w{index}": {f"{name}": None for name in range(min(100, n // 8_000))} for index in range(MAX_FIELDS)
    },
    "long names": lambda _, n: {f"{index}".ljust(n // 20 - 8, "x"): index for index in range(20)},
    "lists in lists": lambda _, n: json.loads("[" * 400 + "]" * 400),
    "numbers by name": lambda _, n: {f"m{index}": index / 7 for index in range(min(64, n // 30))},
}


def _paths(body: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    entries = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, entry in entries:
        yield (*path, key)
        yield from _paths(entry, (*path, key))


def _changed(body: Json, path: Sequence[str | int], change: Callable[[Json], Json]) -> Json:
    if not path:
        return change(body)
    copy = dict(body) if isinstance(body, dict) else list(body)
    copy[path[0]] = _changed(body[path[0]], path[1:], change)  # type: ignore[index, call-overload]
    return copy


def changes(bodies: Sequence[Json]) -> Kind:
    """Return bodies that are right but for one value, or for names of fields beside it that are nearly right."""
    places = [(index, path) for index, body in enumerate(bodies) for path in _paths(body)]

    def build(n_bytes: int, *, place: tuple[int, Sequence[str | int]], value: str, n_near: int) -> bytes:
        index, path = place
        body = _changed(bodies[index], path, lambda old: _VALUES[value](old, n_bytes - 2_000))
        near = {f"{name}{number}": 1 for number in range(n_near) for name in bodies[index]}
        return _json(body | dict(list(near.items())[: MAX_FIELDS // 2]))[:n_bytes]

    return Kind(build, {"place": places, "value": tuple(_VALUES), "n_near": (0, 0, 3, 100)})


# --- bodies of workers


def reports(places: dict[str, Any], begin_anew: Callable[[], None]) -> Kind:
    """Return evaluations, right and wrong, of the trial whose lease is in ``places``.

    Args:
        begin_anew: Puts the lease of another trial there, for which it is time when one has had many evaluations: every
            call of such a trial takes longer.
    """
    steps = count(1)

    def build(n_bytes: int, *, n: int, n_metrics: int, name: int, value: Json, step: str) -> bytes:
        metrics = {f"m{index}".ljust(name, "x"): value for index in range(n_metrics)}
        metrics |= {"validation_loss": 0.5}
        if places["n_reports"] > _MANY_REPORTS:
            begin_anew()
        lease = {name: places[name] for name in ("lease_id", "token")}
        one = {**lease, "epoch": 1.0, "optimizer_steps": 1, "value": 0.5, "metrics": metrics, "final": False}
        n = max(1, min(n, n_bytes // len(_json(one))))
        places["n_reports"] += n
        numbers = {"same": [1] * n, "next": [next(steps) for _ in range(n)], "none": [0] * n}[step]
        return _json({"reports": [one | {"step": number} for number in numbers]})[:n_bytes]

    return Kind(
        build,
        {
            "n": (1, 100, 1_000, 1_001),
            "n_metrics": (0, 1, 63, 64, MAX_FIELDS - 1),
            "name": (1, 60, 1_000),
            "value": (0.5, 0.5, None, "x"),
            "step": ("same", "next", "next", "none"),
        },
    )


def _leases(n_bytes: int, *, n: int, token: int) -> bytes:
    return _fitting(n_bytes, lambda n: {"leases": [{"lease_id": uuid4().hex, "token": "f" * token}] * n}, n)


LEASES = Kind(_leases, {"n": (1, 64, 65, 10_000), "token": (32, 33, 1_000)})
"""Leases to renew, which nobody holds."""


def _facts(n_bytes: int, *, n: int, what: Json, where: str) -> bytes:
    return _fitting(
        n_bytes, lambda n: {"kind": "prepare", "facts": FACTS | {where: [what] * n}, "device_seconds": 1.0}, n
    )


FACTS_TOLD = Kind(
    _facts, {"n": (1, 1_000, 100_000, 250_000), "what": ("c", 1, None), "where": ("classes", "warnings", "blocks")}
)
"""Facts of data with more classes than anybody has."""
