"""The table of presets against the contract, and how a preset is written into a spec."""

from typing import Any

import pytest

from service.errors import Invalid
from service.search.baseline import baseline
from service.search.lint.lint import lint
from service.search.presets.fill_preset import fill_preset
from service.search.presets.presets import PRESETS
from service.search.space.params import trial_params
from spezia.contract.hyperparameters import HYPERPARAMETERS, default_of
from spezia.contract.preset import Preset
from spezia.contract.space import active_dimension
from spezia.contract.space_rules import range_errors, value_problem
from spezia.contract.study_spec import StudySpec, whole_space_errors
from spezia.contract.tasks import TRAINED_TASKS, Task
from tests.service.search.builders import History, make_facts
from trainer.trial.config import TrialConfig

TRIED = "small-encoder-small-data"
EACH = pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
EACH_TASK = pytest.mark.parametrize(
    ("preset", "task"), [(preset, task) for preset in PRESETS.values() for task in preset.tasks]
)


def preset_spec(name: str, task: Task = "text-classification", **fields: Any) -> StudySpec:
    basics = {"task": task, "model": {"name": "m"}, "data": {"train": "train.csv"}, "preset": name}
    return StudySpec.model_validate(basics | fields)


@EACH_TASK
def test_a_preset_passes_the_contract_for_its_tasks(preset: Preset, task: Task) -> None:
    filled = fill_preset(preset_spec(preset.name, task, pruner={"name": "none"}))
    assert filled.search_space == preset.search_space
    assert not range_errors(filled.search_space)
    assert not whole_space_errors(filled)
    assert all(HYPERPARAMETERS[name].problem(value) is None for name, value in preset.fixed.items())


@EACH
@pytest.mark.parametrize("pruner", [{}, {"pruner": {"name": "rungs"}}], ids=["default", "rungs"])
def test_where_trials_are_pruned_all_of_a_preset_have_as_many_epochs(preset: Preset, pruner: dict[str, Any]) -> None:
    spec = preset_spec(preset.name, preset.tasks[0], **pruner)
    filled = fill_preset(spec)
    most = preset.fixed.get("epochs") or preset.parameters["epochs"].distribution.high  # type: ignore[union-attr]
    assert filled.fixed["epochs"] == most
    assert filled.search_space == {name: one for name, one in preset.search_space.items() if name != "epochs"}
    assert fill_preset(filled) == filled
    assert trial_params(filled, baseline(filled, make_facts()).params)["epochs"] == most
    searched = {"epochs": {"type": "int", "low": 1, "high": 2}}
    own = preset_spec(preset.name, preset.tasks[0], search_space=searched, **pruner)
    assert fill_preset(own).search_space["epochs"] == own.search_space["epochs"]
    if "epochs" in preset.search_space:
        enqueued = preset_spec(preset.name, preset.tasks[0], enqueue=[{"epochs": most}], **pruner)
        assert "epochs" in fill_preset(enqueued).search_space


def test_what_a_preset_tries_first_is_enqueued_behind_what_the_study_enqueues() -> None:
    own = {"learning_rate": 5e-5}
    filled = fill_preset(preset_spec(TRIED, enqueue=[own]))
    assert filled.enqueue == [own, *PRESETS[TRIED].enqueue]
    assert fill_preset(filled) == filled
    assert not whole_space_errors(filled)


def test_what_a_preset_tries_first_stays_within_the_study() -> None:
    narrow = {"learning_rate": {"type": "float", "low": 1e-4, "high": 3e-4, "log": True}}
    spec = preset_spec(TRIED, search_space=narrow, fixed={"frozen_fraction": 0.25, "weight_decay": 0.1})
    assert fill_preset(spec).enqueue == [
        {"learning_rate": 1.2e-4, "warmup_ratio": 0.1},
        {"learning_rate": 2.4e-4, "warmup_ratio": 0.1},
    ]
    assert len(fill_preset(preset_spec(TRIED, n_trials=3)).enqueue) == 2
    assert fill_preset(preset_spec(TRIED, n_trials=1)).enqueue == []
    assert fill_preset(preset_spec(TRIED, fixed={"method": "lora"})).enqueue == []


@EACH
def test_what_a_preset_tries_first_has_a_source_and_all_its_params(preset: Preset) -> None:
    assert bool(preset.enqueue) == (preset.enqueue_source is not None)
    searched = preset.search_space.keys() - {"epochs"}
    assert all(params.keys() == searched for params in preset.enqueue)
    start = {name: preset.parameters[name].default for name in searched}
    assert start not in preset.enqueue, "the baseline tries it"


@EACH
def test_every_line_of_a_preset_has_its_source(preset: Preset) -> None:
    assert preset.tasks
    assert all(line.source.strip() for line in preset.parameters.values())
    assert set(preset.search_space) | set(preset.fixed) == set(preset.parameters)


@EACH
def test_the_defaults_of_a_preset_lie_in_its_ranges(preset: Preset) -> None:
    params = preset.fixed | {name: line.default for name, line in preset.parameters.items() if line.default is not None}
    for name in preset.search_space:
        one = active_dimension(preset.search_space, name, params)
        if one is not None:
            assert value_problem(one.distribution, params.get(name, default_of(name, params))) is None, name


@EACH_TASK
def test_trial_0_runs_the_defaults_of_the_preset(preset: Preset, task: Task) -> None:
    start = baseline(fill_preset(preset_spec(preset.name, task)), make_facts())
    assert start.warnings == []
    said = {name: line.default for name, line in preset.parameters.items() if line.default is not None}
    assert start.params == {name: said.get(name, default_of(name, {})) for name in start.params}
    assert "learning_rate" in start.params


@EACH_TASK
def test_nothing_is_to_be_said_against_a_preset(preset: Preset, task: Task) -> None:
    assert lint(fill_preset(preset_spec(preset.name, task))) == []


@EACH
def test_the_trainer_takes_every_trial_of_a_preset(preset: Preset) -> None:
    history = History(fill_preset(preset_spec(preset.name, preset.tasks[0], sampler={"name": "random"})))
    configs = set()
    for _ in range(20):
        proposal = history.propose()
        assert proposal is not None
        history.start(proposal)
        configs.add(TrialConfig.from_params(trial_params(history.spec, proposal.params)))
    assert len(configs) == 20
    assert len({config.method for config in configs}) == (3 if preset.name == "encoder-methods" else 1)


def test_every_task_has_a_preset() -> None:
    assert {task for preset in PRESETS.values() for task in preset.tasks} == set(TRAINED_TASKS)


def test_similar_tasks_freeze_more_and_step_less() -> None:
    similar, different = PRESETS["similar-task"].parameters, PRESETS["different-task"].parameters
    assert similar["frozen_fraction"].default == 0.75
    assert different["frozen_fraction"].default == 0.0
    rates = [one["learning_rate"].default for one in (similar, different)]
    assert rates == sorted(rates)  # type: ignore[type-var]


@EACH_TASK
def test_filling_in_again_changes_nothing(preset: Preset, task: Task) -> None:
    once = fill_preset(preset_spec(preset.name, task, fixed={"epochs": 2}))
    assert fill_preset(once) == once
    assert fill_preset(StudySpec.model_validate_json(once.model_dump_json())) == once


def test_a_range_of_the_spec_wins() -> None:
    own = {"type": "float", "low": 1e-4, "high": 1e-3, "log": True}
    space = {"learning_rate": own, "dropout": own}
    filled = fill_preset(preset_spec("encoder-small-data", search_space=space, pruner={"name": "none"}))
    assert filled.search_space.keys() == {*PRESETS["encoder-small-data"].search_space, "dropout"}
    assert filled.model_dump()["search_space"]["learning_rate"]["low"] == 1e-4


def test_a_range_of_the_spec_frees_what_the_preset_fixes() -> None:
    sizes = {"type": "categorical", "choices": [8, 32]}
    filled = fill_preset(preset_spec("encoder-small-data", search_space={"batch_size": sizes}))
    assert "batch_size" in filled.search_space
    assert "batch_size" not in filled.fixed


def test_a_fixed_value_of_the_spec_takes_the_parameter_out_of_the_space() -> None:
    filled = fill_preset(preset_spec("encoder-small-data", fixed={"epochs": 2, "lr_schedule": "cosine"}))
    assert "epochs" not in filled.search_space
    assert (filled.fixed["epochs"], filled.fixed["lr_schedule"]) == (2, "cosine")
    assert filled.fixed["batch_size"] == 16


def test_a_number_of_frozen_layers_replaces_the_fraction() -> None:
    filled = fill_preset(preset_spec("encoder-small-data", fixed={"frozen_layers": 2}))
    assert "frozen_fraction" not in filled.search_space
    assert not whole_space_errors(filled)


@pytest.mark.parametrize("method", ["full", "lora", "head_only"])
def test_a_fixed_method_leaves_its_own_branch(method: str) -> None:
    filled = fill_preset(preset_spec("encoder-methods", fixed={"method": method}))
    assert not whole_space_errors(filled)
    dumped = filled.model_dump()["search_space"]
    assert ("lora_rank" in dumped) == (method == "lora")
    assert dumped["learning_rate"]["when"] == {}
    assert not lint(filled)


def test_searched_methods_leave_their_own_branches() -> None:
    methods = {"type": "categorical", "choices": ["full", "head_only"]}
    filled = fill_preset(preset_spec("encoder-methods", search_space={"method": methods}))
    assert not whole_space_errors(filled)
    assert [one["when"] for one in filled.model_dump()["search_space"]["learning_rate"]] == [
        {"method": "full"},
        {"method": "head_only"},
    ]
    assert "lora_targets" not in filled.fixed


@pytest.mark.parametrize(
    ("name", "task", "reason"),
    [
        ("encoder-smal-data", "text-classification", "did you mean 'encoder-small-data'"),
        ("causal-lm-lora", "text-classification", "for text-classification there are encoder-small-data, "),
        ("causal-lm-lora", "script", "give a search_space"),
    ],
)
def test_a_preset_that_does_not_fit_is_refused(name: str, task: Task, reason: str) -> None:
    spec = preset_spec(name) if task != "script" else StudySpec(task="script", script="s.py", preset=name)
    with pytest.raises(Invalid, match=reason) as refused:
        fill_preset(spec)
    assert [error.field for error in refused.value.errors] == ["preset"]
