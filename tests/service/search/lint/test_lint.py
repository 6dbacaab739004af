"""Each warning, the field it names and what it advises; and that a good study has none."""

from typing import Any

import pytest

from service.search.lint.lint import lint
from service.search.lint.lint_facts import lint_facts
from service.search.space.space_size import space_size, trials_advised
from spezia.contract.study_spec import StudySpec
from tests.service.search.builders import make_facts

RATE = {"type": "float", "low": 1e-5, "high": 3e-4, "log": True}
DECAY = {"type": "float", "low": 0.0, "high": 0.1}
EPOCHS = {"type": "int", "low": 2, "high": 4}
SPACE = {"learning_rate": RATE, "weight_decay": DECAY, "epochs": EPOCHS}
MANY = SPACE | {
    "dropout": {"type": "float", "low": 0.0, "high": 0.3},
    "warmup_ratio": {"type": "float", "low": 0.0, "high": 0.2},
    "frozen_layers": {"type": "int", "low": 0, "high": 4},
    "lr_schedule": {"type": "categorical", "choices": ["linear", "cosine"]},
}
BATCH = {"type": "categorical", "choices": [8, 16]}
METHOD = {"type": "categorical", "choices": ["full", "lora"]}
PAIR = {"batch_size": BATCH, "lr_schedule": MANY["lr_schedule"]}


def make(**fields: Any) -> StudySpec:
    basics: dict[str, Any] = {"task": "text-classification", "model": {"name": "m"}, "data": {"train": "train.csv"}}
    return StudySpec.model_validate(basics | {"search_space": SPACE} | fields)


def rate(**changes: Any) -> dict[str, Any]:
    return {"search_space": SPACE | {"learning_rate": RATE | changes}}


def pruner(name: str, **options: Any) -> dict[str, Any]:
    return {"pruner": {"name": name, "options": options}}


CASES: list[tuple[dict[str, Any], str, str]] = [
    (rate(log=False), "search_space.learning_rate.log", "log: true"),
    (rate(low=1e-12, log=False), "search_space.learning_rate.log", "log: true"),
    (rate(low=1e-7, high=1e-3), "search_space.learning_rate", "factor of 1000"),
    (rate(low=1e-5, high=1.5e-5), "search_space.learning_rate", "factor of 2"),
    (rate(low=1e-4, high=1e-2), "search_space.learning_rate", "1e-06 to 0.001"),
    (rate(low=2e-6, high=1e-4) | {"fixed": {"method": "lora"}}, "search_space.learning_rate", "good rates of lora"),
    (
        {"search_space": {"weight_decay": DECAY}, "fixed": {"learning_rate": 0.1}},
        "fixed.learning_rate",
        "good rates of full",
    ),
    ({"search_space": SPACE | {"method": METHOD}}, "search_space.learning_rate", "10 to 100 times apart"),
    (
        {
            "search_space": SPACE
            | {
                "method": METHOD,
                "learning_rate": [
                    RATE | {"high": 3e-3, "when": {"method": "full"}},
                    RATE | {"high": 3e-3, "when": {"method": "lora"}},
                ],
            }
        },
        "search_space.learning_rate",
        "good rates of full have been found",
    ),
    ({"search_space": MANY, "n_trials": 30}, "n_trials", "7 parameters searched with 30 trials"),
    ({"search_space": MANY, "n_trials": 15}, "n_trials", "search only learning_rate, epochs, frozen_layers"),
    ({"n_trials": 8, "sampler": {"name": "random"}}, "n_trials", "raise n_trials to 9, or search only learning_rate"),
    ({"n_trials": 10}, "sampler.options.n_startup_trials", "lower n_startup_trials to 3"),
    ({"sampler": {"name": "nsga2"}}, "sampler.options.population_size", "it learns nothing"),
    ({"search_space": PAIR, "n_trials": 9, "sampler": {"name": "grid"}}, "n_trials", "lower n_trials to 4"),
    ({"search_space": PAIR, "n_trials": 9}, "n_trials", "use sampler grid"),
    ({"search_space": PAIR, "n_trials": 3, "sampler": {"name": "grid"}}, "n_trials", "the grid has 4 points"),
    ({"search_space": SPACE | PAIR, "sampler": {"name": "cmaes"}}, "sampler.name", "batch_size, lr_schedule"),
    ({"n_parallel": 20}, "n_parallel", "none learns from another"),
    ({"search_space": SPACE | {"adam_beta2": DECAY | {"high": 0.0}}}, "search_space.adam_beta2", "has one value"),
    (
        {"search_space": {"learning_rate": RATE}, "fixed": {"epochs": 1}} | pruner("median"),
        "pruner.name",
        "cannot act",
    ),
    (pruner("median", n_warmup_steps=3), "pruner.options", "acts from evaluation 4 on"),
    (pruner("successive-halving", min_resource=4), "pruner.options", "acts from evaluation 4 on"),
    (pruner("hyperband", min_resource=4), "pruner.options", "acts from evaluation 4 on"),
    (pruner("patient", patience=2), "pruner.options", "acts from evaluation 4 on"),
    (pruner("threshold", upper=1.0, n_warmup_steps=9), "pruner.options", "acts from evaluation 10 on"),
    (pruner("rungs", first=4), "pruner.options", "acts from evaluation 4 on"),
    (pruner("rungs"), "training.evaluations_per_epoch", "raise training.evaluations_per_epoch to 5"),
    (pruner("rungs", eta=2, top=20) | {"n_trials": 20}, "pruner.options.top", "lower pruner.options.top to 10"),
    (pruner("percentile", n_startup_trials=20), "pruner.options.n_startup_trials", "lower it to 5"),
    (pruner("median") | {"n_parallel": 11}, "n_parallel", "11 of 20 trials run at once"),
    (
        pruner("median") | {"search_space": SPACE | {"epochs": EPOCHS | {"high": 8}}},
        "search_space.epochs",
        "7 numbers of epochs",
    ),
    (
        pruner("threshold", lower=2.5) | {"objective": {"metric": "accuracy"}},
        "pruner.options",
        "compared with the objective accuracy",
    ),
    (
        pruner("threshold", upper=0.9) | {"objective": {"metric": "accuracy"}},
        "pruner.options.upper",
        "better than 0.9",
    ),
    (pruner("threshold", lower=0.1), "pruner.options.lower", "target_value"),
    ({"search_space": SPACE | {"batch_size": BATCH}}, "search_space.batch_size", "fix batch_size"),
    (
        {
            "search_space": SPACE | {"lora_alpha_ratio": {"type": "float", "low": 1, "high": 4}},
            "fixed": {"method": "lora"},
        },
        "search_space.lora_alpha_ratio",
        "trade off",
    ),
    (
        {"model": {"name": "sentence-transformers/all-MiniLM-L6-v2"}, "fixed": {"frozen_layers": 7}},
        "fixed.frozen_layers",
        "this model has 6",
    ),
    (
        {
            "model": {"name": "FacebookAI/roberta-base"},
            "search_space": SPACE | {"frozen_layers": {"type": "int", "low": 0, "high": 13}},
        },
        "search_space.frozen_layers",
        "set search_space.frozen_layers.high to 12",
    ),
    (
        {"search_space": SPACE | {"warmup_ratio": MANY["warmup_ratio"]}, "fixed": {"lr_schedule": "constant"}},
        "search_space.warmup_ratio",
        "constant_with_warmup",
    ),
    ({"fixed": {"dropout": 0.1}}, "fixed.dropout", "the checkpoint's own"),
    (
        {
            "search_space": {"learning_rate": RATE},
            "fixed": {"epochs": 30},
            "training": {"early_stopping_patience": None},
        },
        "training.early_stopping_patience",
        "up to 30 epochs",
    ),
    (
        {"data": {"train": "train.csv", "test": "test.csv"}, "training": {"keep_models": 0}},
        "training.keep_models",
        "keep_models: 1",
    ),
    (
        {"pruner": {"name": "rungs", "options": {"top": 3}}, "n_trials": 4, "training": {"evaluations_per_epoch": 9}},
        "pruner.options.top",
        "3 trials are carried out to their end and there are 3 beside the baseline: none is dropped",
    ),
    (
        {"confirm": {"top": 3}, "training": {"keep_models": 2}},
        "training.keep_models",
        "2 models kept, and one of 3 trials may win under fresh seeds: there may be none of the winner; set",
    ),
]


@pytest.mark.parametrize(("changes", "field", "words"), CASES, ids=[f"{case[1]}: {case[2]}" for case in CASES])
def test_each_warning_names_its_field_and_what_to_do(changes: dict[str, Any], field: str, words: str) -> None:
    found = lint(make(**changes))
    assert [str(warning) for warning in found if warning.field == field and words in str(warning)], found
    assert all(warning.advice for warning in found)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"search_space": {"learning_rate": RATE}, "n_trials": 3, "sampler": {"name": "random"}},
        rate(low=1e-6, high=1e-3),
        rate(low=1e-4, high=5e-3) | {"fixed": {"method": "lora"}},
        rate(low=2e-5, high=5e-5, log=False),
        {
            "search_space": SPACE
            | {"method": METHOD}
            | {
                "learning_rate": [
                    RATE | {"when": {"method": "full"}},
                    RATE | {"low": 1e-4, "high": 5e-3, "when": {"method": "lora"}},
                ]
            }
        },
        {"search_space": MANY, "n_trials": 40},
        {"search_space": MANY | {"batch_size": BATCH}, "n_trials": 40},
        {"n_trials": 11},
        {"search_space": PAIR, "n_trials": 4, "sampler": {"name": "grid"}},
        {"search_space": PAIR, "n_trials": 4, "sampler": {"name": "random"}},
        pruner("none") | {"n_parallel": 19},
        pruner("median", n_warmup_steps=2) | {"n_parallel": 10},
        pruner("successive-halving", min_resource=3),
        pruner("patient", patience=1),
        pruner("threshold", upper=2.0),
        pruner("threshold", lower=0.2) | {"objective": {"metric": "accuracy"}},
        {"model": {"name": "all-MiniLM-L12-v2"}, "fixed": {"frozen_layers": 12}},
        {"model": {"name": "answerdotai/ModernBERT-base"}, "fixed": {"frozen_layers": 22}},
        {"model": {"name": "distilbert/distilbert-base-uncased"}, "fixed": {"frozen_layers": 6}},
        {"model": {"name": "someone/own-model"}, "fixed": {"frozen_layers": 40}},
        {"model": {"name": "someone/madebert-base"}, "fixed": {"frozen_layers": 40}},
    ],
)
def test_a_good_study_has_no_warnings(changes: dict[str, Any]) -> None:
    assert lint(make(**changes)) == []


def test_too_few_trials_are_said_once() -> None:
    spec = make(search_space=MANY | {"batch_size": BATCH}, n_trials=12)
    assert [warning.field for warning in lint(spec)] == ["n_trials"]


def test_of_a_script_only_what_holds_for_any_params() -> None:
    space = {f"p{index}": {"type": "float", "low": 0.0, "high": 1.0} for index in range(7)}
    spec = StudySpec.model_validate(
        {"task": "script", "script": "train.py", "search_space": space, "pruner": {"name": "median"}}
    )
    assert [(one.field, one.advice) for one in lint(spec)] == [
        ("n_trials", "raise n_trials to 40, or search 6 of them"),
    ]


def test_a_small_validation_split_of_a_small_train_is_noisy() -> None:
    (warning,) = lint_facts(make(), make_facts())
    assert "22 points" in warning.message
    assert lint_facts(make(data={"train": "train.csv", "validation": "validation.csv"}), make_facts()) == []
    assert lint_facts(make(), make_facts().model_copy(update={"validation_rows": 200})) == []


WHEN_LORA = {"when": {"method": "lora"}}


@pytest.mark.parametrize(
    ("space", "size"),
    [
        (SPACE, None),
        ({"epochs": EPOCHS}, 3),
        ({"epochs": EPOCHS | {"step": 2}, "batch_size": BATCH}, 4),
        ({"dropout": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1}}, 4),
        ({"batch_size": EPOCHS | {"low": 1, "high": 65_536}}, 65_536),
        ({name: EPOCHS | {"high": 999} for name in ("epochs", "batch_size", "frozen_layers")}, 998**3),
        (
            {
                name: {"type": "float", "low": 0.0, "high": 0.5, "step": 1e-7}
                for name in ("dropout", "weight_decay", "label_smoothing")
            },
            None,
        ),
        ({"method": METHOD, "lora_rank": {"type": "categorical", "choices": [4, 8, 16]} | WHEN_LORA}, 4),
        ({"lora_rank": {"type": "categorical", "choices": [4, 8]} | WHEN_LORA, "method": METHOD, "epochs": EPOCHS}, 9),
        ({"method": METHOD, "epochs": [EPOCHS | WHEN_LORA, EPOCHS | {"high": 9, "when": {"method": "full"}}]}, 11),
    ],
)
def test_the_size_of_a_space_counts_what_trials_can_be(space: dict[str, Any], size: int | None) -> None:
    assert space_size(make(search_space=space)) == size


@pytest.mark.parametrize(
    ("space", "advised"),
    [({"learning_rate": RATE}, 1), (SPACE, 9), (MANY, 40), ({"batch_size": BATCH, "epochs": EPOCHS}, 6)],
)
def test_a_space_deserves_trials_by_its_parameters(space: dict[str, Any], advised: int) -> None:
    assert trials_advised(make(search_space=space)) == advised
