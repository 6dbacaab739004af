"""Every task that the contract names can be trained, and is trained by a test beside plain transformers."""

import pytest

from spezia.contract.data import Data
from spezia.contract.tasks import TASKS, TRAINED_TASKS, Task
from tests.trainer.task_cases import CASES
from trainer.tasks.registry import choose_task


@pytest.mark.parametrize("task", TRAINED_TASKS)
def test_every_task_of_the_contract_has_a_trainer_that_reports_its_metrics(task: Task) -> None:
    columns = {column: ["a"] for column in TASKS[task].columns[0]}
    chosen = choose_task(task, Data(train="train.csv"), columns)
    assert set(chosen.metric_names) <= set(TASKS[task].metrics)


def test_every_task_of_the_contract_is_trained_beside_plain_transformers() -> None:
    assert {case.task for case in CASES} == set(TRAINED_TASKS)
