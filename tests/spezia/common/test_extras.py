import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from spezia.common import extras
from spezia.common.extras import TRAINER_MODULES, MissingExtra, require_trainer

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_the_modules_of_the_trainer_are_those_of_its_extra() -> None:
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    names = {re.split(r"[^\w.-]", requirement)[0] for requirement in project["optional-dependencies"]["trainer"]}
    packages = packages_distributions()
    assert {packages[module][0].replace("_", "-").lower() for module in TRAINER_MODULES} == names


def test_what_a_worker_lacks_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    require_trainer("training")
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "peft" else name)
    with pytest.raises(MissingExtra, match=r"^training needs peft, .*: pip install 'spezia\[trainer\]'$"):
        require_trainer("training")
