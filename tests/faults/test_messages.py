"""F04, F05 and F23 to F26: messages that are lost, late, or come in another order, spelt out."""

import itertools
from collections.abc import Callable

import pytest

from service.errors import LeaseLost, OutcomeRefused
from service.lease_and_heartbeat_terms import LEASE_SECONDS
from service.lifecycle.trials.cancel_trial import cancel_trial
from service.lifecycle.trials.show_trial import show_trial
from spezia.contract.protocol import Told
from tests.faults import actors
from tests.faults.stories import Story
from tests.faults.world import World

NewWorld = Callable[..., World]


def test_f04_a_trial_granted_without_a_reply_is_its_workers_until_the_lease_ends(new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=1)
    story.prepare()
    assert story.ask(actors.asking(story.worker_id), fault="dispatch.after_commit") is None
    other = story.new_worker()
    assert story.ask(actors.asking(other)) == []
    assert story.take().attempt == 1
    story.live(LEASE_SECONDS + 16)
    assert story.take(other).attempt == 2
    story.holds()


def test_f05_a_report_that_was_not_stored_is_decided_once(new_world: NewWorld) -> None:
    story = Story(new_world(), pruner={"name": "threshold", "options": {"upper": 1.0}})
    held = story.begin()
    late = actors.reporting(held, 2, 9.0, final=False)
    assert story.ask(late, fault="report.before_commit") is None
    replies = [story.ask(late)[0] for _ in range(2)]
    assert replies[0] == replies[1]
    assert replies[0].should_prune
    story.holds()


def test_f23_reports_in_another_order_are_stored_by_step(new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=1)
    story.prepare()
    held = story.take()
    for step in (5, 3, 1):
        assert story.report(held, step, 0.1 * step).directive == "continue"
    story.tell(held)
    assert story.report(held, 2, 0.01).directive == "lost"
    trial = show_trial(story.world.services[0].store, story.name, 0)
    assert [row.step for row in trial.intermediate_values] == [1, 3, 5]
    assert trial.value == 0.1
    story.holds()


def test_f25_after_the_decision_to_prune_nothing_counts(new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=1, pruner={"name": "threshold", "options": {"upper": 1.0}})
    held = story.begin()
    assert story.report(held, 2, 9.0).should_prune
    assert story.report(held, 3, 0.1).should_prune, "the decision stands"
    assert isinstance(story.tell(held), OutcomeRefused)
    assert story.tell(held, is_pruned=True).replayed is False
    assert isinstance(story.tell(held), OutcomeRefused)
    trial = show_trial(story.world.services[0].store, story.name, 0)
    assert (trial.state, [row.step for row in trial.intermediate_values]) == ("PRUNED", [1, 2])
    story.holds()


@pytest.mark.parametrize("order", list(itertools.permutations(["result", "heartbeat", "cancel"])), ids=", ".join)
def test_f26_a_result_a_heartbeat_and_a_cancel_end_the_trial_once_in_any_order(
    order: tuple[str, ...], new_world: NewWorld
) -> None:
    story = Story(new_world(), n_trials=1)
    held = story.begin()
    is_over, is_cancelled = False, False
    for deed in order:
        if deed == "result":
            assert story.tell(held) == Told(replayed=False)
            is_over = True
        elif deed == "heartbeat":
            assert story.beat(held) == ("lost" if is_over else "cancel" if is_cancelled else "continue")
        else:
            cancel_trial(story.world.services[0].store, story.name, 0)
            is_cancelled = True
    assert story.tell(held) == Told(replayed=True)
    assert isinstance(story.ask(actors.releasing(held)), LeaseLost)
    assert show_trial(story.world.services[0].store, story.name, 0).value == 0.5
    story.live(LEASE_SECONDS + 16)
    assert story.world.state_of(story.name) == "complete"
    story.world.check(is_quiet=True)
    story.holds()
