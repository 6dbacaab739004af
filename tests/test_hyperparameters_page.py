"""docs/hyperparameters.md is written from the contract: `python -m tests.test_hyperparameters_page` writes it anew."""

import re
from pathlib import Path

from spezia.contract.hyperparameters import BLOCK_PARAMS, HYPERPARAMETERS, METHODS, Hyperparameter
from spezia.contract.schedules import SCHEDULES, Schedule

PAGE = Path(__file__).parent.parent / "docs" / "hyperparameters.md"
INTRODUCTION = f"""\
# Hyperparameters

What a study of any task but `script` may search (`search_space`) or fix (`fixed`). One that is in neither has its
default. This page is written from the table in `spezia/contract/hyperparameters.py`, by which specs and trials are
checked; `/docs` shows the same. What is allowed is what can be carried out at all; [presets](presets.md) say what
is worth searching.

Where `method` is searched, a hyperparameter that only some methods have needs a condition: `when: {{method: lora}}`.
{", ".join(f"`{name}`" for name in BLOCK_PARAMS)} need a model with a list of
blocks, which ALBERT, Swin and ConvNeXt do not have.
"""
SCHEDULES_INTRODUCTION = """
## Learning-rate schedules

What `lr_schedule` makes of the learning rate once warm-up (`warmup_ratio`) has brought it to its peak. The names are
those of transformers; `spezia/contract/schedules.py` holds their arguments.
"""


def page() -> str:
    """Return the page as the contract has it."""
    return "\n".join(
        [
            INTRODUCTION,
            "| name | meaning | allowed | default | methods | source |",
            "|---|---|---|---|---|---|",
            *map(_row, HYPERPARAMETERS.values()),
            SCHEDULES_INTRODUCTION,
            "| name | the learning rate | arguments |",
            "|---|---|---|",
            *map(_schedule_row, SCHEDULES.values()),
            "",
        ]
    )


def _row(one: Hyperparameter) -> str:
    methods = "all" if one.methods == METHODS else ", ".join(one.methods)
    return f"| `{one.name}` | {one.meaning} | {one.allowed} | {one.default_in_words} | {methods} | {one.source} |"


def _schedule_row(one: Schedule) -> str:
    arguments = [f"`{name}={value!r}`" for name, value in one.arguments.items()]
    share = [f"`num_decay_steps`: {one.decay_share:.0%} of all steps"] if one.decay_share else []
    return f"| `{one.name}` | {one.meaning} | {', '.join([*arguments, *share])} |"


def test_the_page_is_in_step_with_the_contract() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.test_hyperparameters_page`"


def test_every_meaning_is_a_sentence() -> None:
    for one in (*HYPERPARAMETERS.values(), *SCHEDULES.values()):
        assert re.fullmatch(r"[A-Z].*\.", one.meaning), one.name


def test_every_default_is_allowed() -> None:
    for one in HYPERPARAMETERS.values():
        defaults = [*one.default_by_method.values(), *([] if one.default is None else [one.default])]
        assert [one.problem(value) for value in defaults] == [None] * len(defaults), one.name


if __name__ == "__main__":
    PAGE.write_text(page())
