"""What we know of Optuna that it does not promise, compared with the Optuna that is installed."""

import re
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.pruners import HyperbandPruner, SuccessiveHalvingPruner
from optuna.trial import create_trial

from service.optuna_private import (
    COMPLETED_RUNG,
    CONSTRAINTS,
    FIXED_PARAMS,
    all_but,
    bracket_of,
    id_of,
    number_of,
    set_id,
)

ROOT = Path(__file__).parents[2]
DOOR = ROOT / "service" / "optuna_private.py"
FOLDERS = ("spezia", "service", "trainer", "migrations", "tests", "benchmarks")
PLANTED = ROOT / "tests" / "test_architecture.py"
"""Holds the text of a violation."""
OF_NAMED_TUPLES = {"_asdict", "_replace", "_make", "_fields"}


def given_names(source: str) -> set[str]:
    """Underscore names of what a file defines: functions, classes, attributes of ``self``."""
    return set(re.findall(r"(?:\bself\.|\bdef |\bclass )(_[a-zA-Z]\w*)", source))


def touched(source: str) -> Iterator[tuple[str, int]]:
    """Underscore names that a file takes of others than ``self``, with their lines; those of Optuna's modules, too."""
    for line, text in enumerate(source.splitlines(), 1):
        taken = re.findall(r"(?<!\bself)\.(_[a-zA-Z]\w*)|from optuna\S* import .*(\b_[a-zA-Z]\w*)", text)
        yield from ((name or imported, line) for name, imported in taken)


@pytest.fixture(scope="module")
def of_optuna() -> set[str]:
    """Underscore names of Optuna's modules and of what they define."""
    paths = list(Path(optuna.__path__[0]).rglob("*.py"))
    modules = {path.stem for path in paths if re.match("_[a-zA-Z]", path.stem)}
    return modules.union(*(given_names(path.read_text()) for path in paths)) - OF_NAMED_TUPLES


def test_no_other_file_touches_a_private_name_of_optuna(of_optuna: set[str]) -> None:
    others = [
        path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")) if path not in (DOOR, PLANTED)
    ]
    assert [
        f"{path.relative_to(ROOT)}:{line} touches {name}"
        for path in others
        for source in [path.read_text()]
        for name, line in touched(source)
        if name in of_optuna - given_names(source)
    ] == []


def test_the_rule_sees_what_the_door_touches(of_optuna: set[str]) -> None:
    found = {name for name, _ in touched(DOOR.read_text())} & of_optuna
    assert found == {
        "_frozen",
        "_get_bracket_id",
        "_intersection_search_space",
        "_number",
        "_search_space",
        "_suggest",
        "_trial_id",
    }


def test_optuna_keeps_the_params_of_an_enqueued_trial_where_we_do() -> None:
    study = optuna.create_study()
    study.enqueue_trial({"x": 1.5})
    assert study.trials[0].system_attrs[FIXED_PARAMS] == {"x": 1.5}


def test_optuna_keeps_a_constraint_where_we_do() -> None:
    study = optuna.create_study()
    trial = study.ask()
    trial.set_constraint("accuracy >= 0.5", -0.25)
    assert study.trials[0].system_attrs == {f"{CONSTRAINTS}accuracy >= 0.5": -0.25}
    assert study.trials[0].constraints == {"accuracy >= 0.5": -0.25}


def test_optuna_keeps_the_value_of_a_rung_where_we_do() -> None:
    study = optuna.create_study(pruner=SuccessiveHalvingPruner(min_resource=1))
    trial = study.ask()
    trial.report(0.5, 1)
    trial.should_prune()
    assert study.trials[0].system_attrs == {f"{COMPLETED_RUNG}0": 0.5}


def test_hyperband_compares_within_the_bracket_that_we_name() -> None:
    pruner = HyperbandPruner(1, 9)
    study = optuna.create_study(study_name="brackets", pruner=pruner)
    for _ in range(20):
        trial = study.ask()
        trial.report(0.5, 1)
        trial.should_prune()
    brackets = {bracket_of(pruner, study, trial) for trial in study.trials}
    assert brackets == {0, 1, 2}
    # only those of the first bracket have a rung after one step
    assert {bracket_of(pruner, study, one) for one in study.trials if f"{COMPLETED_RUNG}0" in one.system_attrs} == {0}


def test_ids_and_numbers_of_trials_are_those_of_the_storage() -> None:
    storage = optuna.storages.InMemoryStorage()
    study_id = storage.create_new_study([optuna.study.StudyDirection.MINIMIZE])
    ids = [storage.create_new_trial(study_id) for _ in range(3)]
    trials = storage.get_all_trials(study_id)
    assert list(map(id_of, trials)) == ids
    assert list(map(number_of, trials)) == [0, 1, 2]
    assert all_but(1, trials) == [trials[0], trials[2]]
    made = create_trial(value=0.5)
    set_id(made, 7)
    assert id_of(made) == 7
