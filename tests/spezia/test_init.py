"""`import spezia`: what it offers, and what it costs."""

import json
import subprocess
import sys
from importlib.metadata import packages_distributions

import spezia
from trainer.train.script import TrialPruned


def loaded_by(statement: str) -> set[str]:
    """Modules that a fresh Python has after a statement."""
    program = f"import json, sys; {statement}; print(json.dumps(list(sys.modules)))"
    return set(json.loads(subprocess.check_output([sys.executable, "-c", program], text=True)))


def test_importing_spezia_loads_pydantic_and_httpx2_and_nothing_else() -> None:
    more = loaded_by("import spezia") - loaded_by("import pydantic, httpx2")
    ours = {module for module in more if module.split(".")[0] == "spezia"}
    libraries = {module.split(".")[0] for module in more - ours} & packages_distributions().keys()
    # annotated_types is what pydantic reads bounds from
    assert libraries <= {"pydantic", "annotated_types"}
    assert {module.split(".")[1] for module in ours - {"spezia"}} == {
        "client",
        "common",
        "contract",
        "ranges",
        "script",
    }


def test_everything_that_is_offered_is_there() -> None:
    assert sorted(spezia.__all__) == spezia.__all__
    assert [name for name in spezia.__all__ if not hasattr(spezia, name)] == []


def test_a_client_that_is_told_the_address_needs_nothing_of_unix() -> None:
    told = "import sys; sys.modules['fcntl'] = None; from spezia import Client; Client('http://127.0.0.1:1')"
    subprocess.run([sys.executable, "-c", told], check=True, timeout=60)


def test_a_script_may_import_the_end_of_its_trial_from_either_place() -> None:
    assert spezia.TrialPruned is TrialPruned
