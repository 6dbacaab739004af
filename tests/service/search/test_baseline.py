import pytest

from service.search.baseline import baseline
from tests.service.search.builders import make_facts, make_spec


def test_defaults_of_a_space_that_allows_them_need_no_warning() -> None:
    found = baseline(make_spec(), make_facts())
    assert found.params == {
        "batch_size": 16,
        "epochs": 3,
        "learning_rate": 2e-5,
        "lr_schedule": "linear",
        "weight_decay": 0.01,
    }
    assert found.warnings == []


@pytest.mark.parametrize(("checkpoint", "expected"), [(None, 0.1), (0.0, 0.0), (0.2, 0.2)])
def test_default_dropout_is_the_checkpoints(checkpoint: float | None, expected: float) -> None:
    spec = make_spec(search_space={"dropout": {"type": "float", "low": 0.0, "high": 0.4}})
    assert baseline(spec, make_facts(checkpoint)).params == {"dropout": expected}


def test_defaults_outside_the_space_move_and_say_so() -> None:
    space = {
        "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-3, "log": True},
        "lr_schedule": {"type": "categorical", "choices": ["cosine"]},
    }
    found = baseline(make_spec(search_space=space), make_facts())
    assert found.params == {"learning_rate": 1e-4, "lr_schedule": "cosine"}
    first, second = found.warnings
    assert first.startswith("baseline: the default learning_rate = 2e-05 is not in search_space;")
    assert first.endswith("it starts from 0.0001, the nearest that is")
    assert "lr_schedule = linear" in second
    assert "cosine" in second
