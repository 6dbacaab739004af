"""Which checkpoints a worker has, and which are gone once an assignment has ended."""

from pathlib import Path

import pytest

from spezia.contract.assignments import Assignment
from tests.fake_service import assignment, wanted_checkpoint
from tests.trainer.trial.test_checkpoint_folder import VERSIONS, marker, save
from trainer.supervisor.client import ServiceClient
from trainer.supervisor.own_checkpoints import OwnCheckpoints
from trainer.trial.checkpoint_folder import CheckpointFolder

STUDY, OTHER = "f" * 32, "0" * 32
ALL = {(STUDY, 3), (STUDY, 4), (OTHER, 3)}


@pytest.fixture
def own(tmp_path: Path, client: ServiceClient) -> OwnCheckpoints:
    folder = CheckpointFolder(tmp_path)
    for study_id, number in ALL:
        save(folder, marker(number, study_id=study_id))
    return OwnCheckpoints(folder, client)


@pytest.mark.parametrize(
    ("ended", "left"),
    [
        (assignment(number=3), {(STUDY, 4), (OTHER, 3)}),
        (assignment("score"), {(OTHER, 3)}),
        (assignment("prepare"), ALL),
        (assignment("replay", number=3), ALL),
        (assignment("confirm", number=3), ALL),
    ],
    ids=lambda one: getattr(one, "kind", ""),
)
def test_a_trial_that_has_ended_leaves_no_checkpoint_and_the_score_none_of_its_study(
    own: OwnCheckpoints, ended: Assignment, left: set[tuple[str, int]]
) -> None:
    own.forget(ended)
    assert {(one.study_id, one.number) for one in own.held(VERSIONS)} == left


def test_a_worker_has_the_checkpoints_of_trials_that_its_versions_can_read(own: OwnCheckpoints) -> None:
    assert own.can_save
    assert own.has(assignment(number=3), VERSIONS)
    assert not own.has(assignment(number=5), VERSIONS)
    assert not own.has(assignment("replay", number=3), VERSIONS)
    assert not own.has(assignment(number=3), {"torch": "0"})


def test_without_a_folder_there_are_none_and_nothing_is_sent(client: ServiceClient) -> None:
    none = OwnCheckpoints(None, client)
    none.start()
    none.want(wanted_checkpoint())
    none.forget(assignment())
    assert not none.can_save
    assert none.held(VERSIONS) == []
    assert not none.has(assignment(), VERSIONS)
