"""The checker sees each kind of damage; a checker that sees nothing would let everything pass."""

from collections.abc import Callable

import pytest

from tests.faults.stories import Story
from tests.faults.world import World

DAMAGE = {
    "I1 trial numbers": "UPDATE trials SET number = number + 7 WHERE number = 0",
    "I1 3 trials, but n_trials is 1": """UPDATE study_spec SET spec = replace(spec, '"n_trials":3', '"n_trials":1')""",
    "I2 has ended, but trials": "UPDATE trials SET state = 'WAITING' WHERE number = 1",
    "I2 has ended without": "UPDATE study_spec SET finished_at = NULL",
    "I3 is FAIL with the value": "UPDATE trials SET state = 'FAIL' WHERE number = 0",
    "I3 2 accepted results": "UPDATE attempt SET number = 0, attempt = 2 WHERE kind = 'trial' AND number = 1",
    "I4 attempts are [2]": "UPDATE attempt SET attempt = 2 WHERE kind = 'trial' AND number = 0",
    "I4 a token was given twice": "UPDATE attempt SET token = 'x'",
    "I4 1 open attempts": "UPDATE attempt SET ended_at = NULL WHERE kind = 'trial' AND number = 0",
    "I7 the value is": "UPDATE trial_values SET value = value + 1e-9",
    "I7 Optuna's intermediate values": "UPDATE trial_intermediate_values SET intermediate_value = 0.25",
    "I9 pruned at step": "UPDATE measurement SET should_prune = true WHERE number = 0",
    "I9 PRUNED without": "UPDATE trials SET state = 'PRUNED' WHERE number = 0",
    "I11": "UPDATE attempt SET kind = 'trial', number = 0, attempt = rowid + 10",
    "I12 has not ended": "UPDATE study_spec SET state = 'running'",
    "I13 measurement has rows": "UPDATE measurement SET study_uuid = 'gone'",
    "I15": "UPDATE artifact SET sha256 = 'other'",
    "I16 the last event of trial 0": "DELETE FROM event WHERE kind = 'trial' AND payload LIKE '%COMPLETE%'",
    "I16 the last event of the study": "DELETE FROM event WHERE kind = 'study' AND payload LIKE '%complete%'",
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_seen(damage: str, new_world: Callable[..., World]) -> None:
    story = Story(new_world(), n_trials=3)
    story.prepare()
    story.finish()
    story.world.check(is_quiet=True)
    assert story.world.complaints == []
    with story.world.engine.begin() as connection:
        connection.exec_driver_sql(DAMAGE[damage])
    story.world.check(is_quiet=True)
    assert any(damage in words for words in story.world.complaints), story.world.complaints
