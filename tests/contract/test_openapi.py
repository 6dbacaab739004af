"""The description of the API is part of the contract: a change of it is seen in review."""

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from spezia.contract.problem import MEDIA_TYPE, Code

SENTENCE = re.compile(r"[A-Z].*\.$", re.DOTALL)
GOLDEN = Path(__file__).parent / "openapi.json"
UPDATE = f"PYTHONPATH=. python -m tests.contract.test_openapi > {GOLDEN.relative_to(Path(__file__).parents[2])}"


def describe(home: Path) -> dict[str, Any]:
    app = create_app(Settings(home=home))
    try:
        schema: dict[str, Any] = TestClient(app, base_url="http://127.0.0.1").get("/openapi.json").json()
    finally:
        app.state.parts.store.close()
    return schema


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return describe(tmp_path_factory.mktemp("home"))


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        yield from ((f"{method.upper()} {path}", operation) for method, operation in methods.items())


def test_the_description_is_the_golden_one(schema: dict[str, Any]) -> None:
    golden = json.loads(GOLDEN.read_text())
    changed = sorted(
        path for path in schema["paths"] | golden["paths"] if schema["paths"].get(path) != golden["paths"].get(path)
    )
    assert schema == golden, f"the API has changed (paths: {changed}); if that is meant, run: {UPDATE}"


def test_every_error_is_declared_as_a_problem(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                assert list(answer["content"]) == [MEDIA_TYPE], name
        assert {"400", "422", "500", "503"} <= operation["responses"].keys(), name


def test_every_call_says_what_it_does_and_in_short_in_a_list(schema: dict[str, Any]) -> None:
    assert [name for name, operation in operations(schema) if not operation.get("description")] == []
    for name, operation in operations(schema):
        assert " ".join(operation["description"].split()).replace("`", "").startswith(operation["summary"]), name
        assert 10 <= len(operation["summary"]) <= 120, name
    assert schema["paths"]["/v1/studies/{name}"]["get"]["summary"] == "Describe one study"


def test_every_group_of_calls_has_its_place(schema: dict[str, Any]) -> None:
    used = {tag for _, operation in operations(schema) for tag in operation["tags"]}
    assert used == {group["name"] for group in schema["tags"]}


def test_every_schema_and_every_field_is_explained_in_a_sentence(schema: dict[str, Any]) -> None:
    unexplained = [
        f"{name}.{field}" if field else name
        for name, described in schema["components"]["schemas"].items()
        for field, one in {"": described, **described.get("properties", {})}.items()
        if not SENTENCE.match(one.get("description", ""))
    ]
    assert unexplained == []


def test_every_parameter_is_explained_in_a_sentence(schema: dict[str, Any]) -> None:
    unexplained = [
        f"{name}: {parameter['name']}"
        for name, operation in operations(schema)
        for parameter in operation.get("parameters", [])
        if not SENTENCE.match(parameter.get("description", ""))
    ]
    assert unexplained == []


def test_every_whole_number_of_a_request_is_bounded(schema: dict[str, Any]) -> None:
    # values of params are bounded by their hyperparameter, or for a script when the study is created
    values = (".fixed", ".enqueue", ".choices", ".when", ".params")
    unbounded = [
        path
        for name, operation in operations(schema)
        for part in ("requestBody", "parameters")
        for path, node in inside(schema, operation.get(part), name, set())
        if node.get("type") == "integer" and not any(value in path for value in values)
        if not ({"minimum", "exclusiveMinimum"} & node.keys() and {"maximum", "exclusiveMaximum"} & node.keys())
    ]
    assert unbounded == []


def inside(schema: dict[str, Any], node: Any, path: str, seen: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a schema with its path; what is referred to once."""
    if isinstance(node, list):
        for one in node:
            yield from inside(schema, one, path, seen)
    if isinstance(node, dict):
        yield path, node
        name = str(node.get("$ref", "")).rpartition("/")[2]
        if name and name not in seen:
            seen.add(name)
            yield from inside(schema, schema["components"]["schemas"][name], name, seen)
        for key, one in node.items():
            yield from inside(schema, one, f"{path}.{key}", seen)


def test_what_makes_something_says_where_it_is(schema: dict[str, Any]) -> None:
    made = {
        name
        for name, operation in operations(schema)
        if any("Location" in answer.get("headers", {}) for answer in operation["responses"].values())
    }
    assert made == {
        "POST /v1/studies",
        "POST /v1/studies/{name}/clone",
        "POST /v1/studies/{name}/trials",
        "POST /v1/studies/{name}/trials/{number}/retry",
        "POST /v1/studies/{name}/trials/{number}/replay",
        "POST /v1/datasets",
        "POST /v1/models",
        "POST /v1/webhooks",
    }


def test_every_json_body_has_examples_and_each_is_accepted(schema: dict[str, Any], tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, n_workers=0))
    client = TestClient(app, base_url="http://127.0.0.1", headers={"Lease-Token": "0" * 32})
    for name, operation in operations(schema):
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            continue
        examples = content["application/json"].get("examples", {})
        assert examples, name
        method, path = name.split(" ")
        path = (
            re.sub(r"{(lease|worker|webhook)_id}", "0" * 32, path)
            .replace("{name}", "none")
            .replace("{sha256}", "0" * 64)
        )
        for label, example in examples.items():
            answer = client.request(method, path, json=example["value"])
            assert answer.status_code in (200, 201, 404, 409), f"{name} {label}: {answer.text}"
    app.state.parts.store.close()


def test_links_name_operations_and_parameters_that_exist(schema: dict[str, Any]) -> None:
    parameters = {
        operation["operationId"]: {parameter["name"] for parameter in operation.get("parameters", [])}
        for _, operation in operations(schema)
    }
    links = [
        link
        for _, operation in operations(schema)
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) >= 8
    for link in links:
        assert link["parameters"].keys() <= parameters[link["operationId"]]


def test_every_problem_code_is_in_the_description(schema: dict[str, Any]) -> None:
    assert schema["components"]["schemas"]["Code"]["enum"] == [code.value for code in Code]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(json.dumps(describe(Path(folder)), indent=1, sort_keys=True) + "\n")
