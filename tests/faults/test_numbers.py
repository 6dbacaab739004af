"""F45 to F47: what has diverged, ties, and studies in which no number is good."""

import math
from collections.abc import Callable

import pytest

from service.errors import NoBest
from service.lifecycle.studies.describe_best import describe_best
from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.trials.show_trial import show_trial
from tests.faults.stories import Story
from tests.faults.world import World

NewWorld = Callable[..., World]


@pytest.mark.parametrize("ending", [{"is_pruned": True}, {"failure_class": "diverged"}], ids=str)
def test_f46_a_study_whose_trials_all_end_early_has_no_best_and_ends(
    ending: dict[str, object], new_world: NewWorld
) -> None:
    story = Story(new_world(), n_trials=3, pruner={"name": "threshold", "options": {"upper": 0.1}})
    story.prepare()
    for _ in range(3):
        held = story.take()
        assert story.report(held, 1, 0.5).should_prune
        story.tell(held, **ending)
    service = story.world.services[0]
    assert show_study(service.store, story.name).finished_at is not None
    with pytest.raises(NoBest):
        describe_best(service.store, service.files, story.name)
    story.world.check(is_quiet=True)
    story.holds()


def test_f45_what_diverged_is_never_the_best(new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=2)
    story.prepare()
    diverged, good = story.take(), story.take(story.new_worker())
    story.report(diverged, 1, -1e308)
    story.tell(diverged, failure_class="diverged")
    story.report(good, 1, 0.5, final=True)
    story.tell(good)
    service = story.world.services[0]
    assert show_trial(service.store, story.name, 0).state != "COMPLETE"
    assert describe_best(service.store, service.files, story.name).number == 1
    story.holds()


def test_f47_of_equal_trials_the_first_leads(new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=3)
    story.prepare()
    held = [story.take(), story.take(story.new_worker()), story.take(story.new_worker())]
    for one in reversed(held):
        story.report(one, 1, math.pi, final=True)
        story.tell(one)
    service = story.world.services[0]
    assert describe_best(service.store, service.files, story.name).number == 0
    story.holds()
