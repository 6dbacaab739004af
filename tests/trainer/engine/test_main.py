"""How the process that trains is started."""

import gc
from collections.abc import Callable

import pytest

from trainer.engine import __main__ as program


def test_python_looks_for_no_garbage_in_what_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("disable", "freeze", "enable"):
        monkeypatch.setattr(gc, name, lambda name=name: done.append(name))

    class Process:
        @property
        def main(self) -> Callable[[], None]:
            done.append("import")
            return lambda: done.append("work")

    monkeypatch.setattr(program, "process", Process())
    program.main()
    assert done == ["disable", "import", "freeze", "enable", "work"]
