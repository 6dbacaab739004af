"""Assignments as the service makes them and as workers read them."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from spezia.contract.protocol import Dispatch
from spezia.contract.study_spec import StudySpec
from tests.fake_service import SPEC, assignment


def test_a_valid_spec_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a valid spec was checked again")

    monkeypatch.setattr("spezia.contract.study_spec.whole_space_errors", refuse)
    assert assignment().spec is SPEC


def test_a_worker_checks_the_spec_that_it_reads() -> None:
    sent = json.loads(Dispatch(assignments=[assignment()]).model_dump_json())
    [read] = Dispatch.model_validate_json(json.dumps(sent)).assignments
    assert isinstance(read.spec, StudySpec)
    assert read == assignment()
    sent["assignments"][0]["spec"]["search_space"] = {}
    with pytest.raises(ValidationError, match="at least 1 parameter"):
        Dispatch.model_validate_json(json.dumps(sent))
