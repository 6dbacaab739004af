"""Libraries that are loaded when something of them is first used."""

import subprocess
import sys

import pytest

from spezia.common.lazy_module import LazyModule


def test_a_module_is_loaded_when_it_is_first_used(monkeypatch: pytest.MonkeyPatch) -> None:
    module = LazyModule("wave")
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    assert "wave" not in sys.modules
    assert module.WAVE_FORMAT_PCM == 1
    assert "wave" in sys.modules


def test_what_a_module_lacks_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        LazyModule("wave").no_such_thing  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "unused"),
    [
        ("service.http_server", "sklearn torch pandas"),
        ("trainer.engine.process", "sklearn datasets pandas scipy.stats"),
    ],
)
def test_a_program_loads_no_library_that_it_may_not_need(program: str, unused: str) -> None:
    loaded = f"import sys, {program}; print(*(name for name in '{unused}'.split() if name in sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", loaded], text=True).split() == []
