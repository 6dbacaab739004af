"""F49, F51 and F52: people change their minds in every state a study can be in, and some trials never work."""

from collections.abc import Callable
from typing import Any

import pytest

from service.errors import NoBest, ServiceError
from service.lifecycle.model_folders import remove_unused_folders
from service.lifecycle.studies.change_limits import change_limits
from service.lifecycle.studies.delete_study import delete_study
from service.lifecycle.studies.describe_best import describe_best
from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.studies.state_machine import cancel, pause, resume, stop
from service.lifecycle.trials.cancel_trial import cancel_trial
from spezia.contract.study_spec import StudyChange
from tests.faults.invariants import ENDED
from tests.faults.stories import Story
from tests.faults.world import World

NewWorld = Callable[..., World]
N_TRIALS = 3


def is_new(story: Story) -> list[Any]:
    return []


def is_preparing(story: Story) -> list[Any]:
    return [story.take()]


def has_waiting(story: Story) -> list[Any]:
    story.prepare()
    held = story.take()
    story.live(120.0)
    assert story.beat(held) == "lost"
    return []


def has_running(story: Story) -> list[Any]:
    return [story.begin(), story.take(story.new_worker())]


def is_paused(story: Story) -> list[Any]:
    held = story.begin()
    pause(story.world.services[0].store, story.name)
    return [held]


def is_stopping(story: Story) -> list[Any]:
    held = story.begin()
    stop(story.world.services[0].store, story.name)
    return [held]


def is_scoring(story: Story) -> list[Any]:
    story.prepare()
    for _ in range(N_TRIALS):
        story.carry_out(story.take())
    score = story.take()
    assert score.kind == "score"
    return [score]


def has_ended(story: Story) -> list[Any]:
    story.finish()
    return []


STATES = [is_new, is_preparing, has_waiting, has_running, is_paused, is_stopping, is_scoring, has_ended]


def shrink(store: Any, name: str) -> None:
    change_limits(store, name, StudyChange(n_trials=1))


def grow(store: Any, name: str) -> None:
    change_limits(store, name, StudyChange(n_trials=N_TRIALS + 2, n_parallel=2))


def cancel_first(store: Any, name: str) -> None:
    cancel_trial(store, name, 0)


DEEDS = [cancel, stop, pause, resume, shrink, grow, cancel_first]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("is_silent", [False, True], ids=["the workers go on", "the workers are gone"])
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_f51_f52_every_deed_in_every_state(
    state: Callable[[Story], list[Any]],
    deed: Callable[[Any, str], None],
    is_silent: bool,
    new_world: NewWorld,
) -> None:
    story = Story(new_world(), n_trials=N_TRIALS, data={"train": "a.csv", "test": "b.csv"})
    held = state(story)
    store = story.world.services[0].store
    before = show_study(store, story.name)
    refusals = [refusal(deed, store, story.name) for _ in range(2)]
    assert refusals[0] is None or refusals == [refusals[0]] * 2, "what is refused once is refused again"
    story.holds()
    for one in [] if is_silent else held:
        directive = story.beat(one)
        assert directive == ("cancel" if is_told_to_end(deed, one, refusals[0]) else "continue")
        story.tell(one, failure_class="cancelled" if directive == "cancel" and one.kind == "trial" else None)
    if show_study(store, story.name).state == "paused":
        resume(store, story.name)
    if before.state not in ENDED or deed is grow:
        story.finish()
    story.live(120.0)
    remove_unused_folders(store, story.world.files)
    story.world.check(is_quiet=True)
    assert story.world.complaints == []
    expected = {cancel: "cancelled"}.get(deed, "complete") if before.state not in ENDED else "complete"
    assert show_study(store, story.name).state == expected


def refusal(deed: Callable[[Any, str], None], store: Any, name: str) -> type[ServiceError] | None:
    try:
        deed(store, name)
    except ServiceError as error:
        return type(error)
    return None


def is_told_to_end(deed: Any, held: Any, refused: type[ServiceError] | None) -> bool:
    return refused is None and (deed is cancel or (deed is cancel_first and getattr(held, "number", -1) == 0))


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_f51_a_study_deleted_in_any_state_leaves_nothing(
    state: Callable[[Story], list[Any]], new_world: NewWorld
) -> None:
    story = Story(new_world(), n_trials=N_TRIALS, data={"train": "a.csv", "test": "b.csv"})
    held = state(story)
    service = story.world.services[0]
    delete_study(service.store, service.files, story.name)
    for one in held:
        assert story.beat(one) == "lost"
        assert story.tell(one).code == "lease-lost"
    story.live(120.0)
    story.world.check(is_quiet=True)
    assert story.world.complaints == []
    assert not list(story.world.folder.glob("*/*"))


def test_f49_a_trial_that_kills_every_worker_does_not_hold_up_the_others(new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=N_TRIALS)
    story.prepare()
    poison = story.take()
    assert poison.kind == "trial"
    story.carry_out(story.take(story.new_worker()))
    for attempt in (2, 3):
        story.live(120.0)
        again = story.take(story.new_worker())
        assert (again.kind, again.params, again.attempt) == ("trial", poison.params, attempt)
    story.finish()
    study = show_study(story.world.services[0].store, story.name)
    assert (study.state, study.trials.fail, study.trials.complete) == ("complete", 1, 2)
    story.holds()


def test_f51_trials_cancelled_one_by_one_do_not_fail_the_study(new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=7)
    story.prepare()
    store = story.world.services[0].store
    for number in range(6):
        held = story.take()
        cancel_trial(store, story.name, number)
        assert story.beat(held) == "cancel"
        story.tell(held, failure_class="cancelled")
    story.finish()
    study = show_study(store, story.name)
    assert (study.state, study.trials.fail, study.trials.complete) == ("complete", 6, 1)
    story.holds()


def test_f49_a_study_in_which_all_fails_ends_early(new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=50)
    story.prepare()
    for _ in range(10):
        story.tell(story.take(), failure_class="exception")
    study = show_study(story.world.services[0].store, story.name)
    assert study.state == "failed"
    assert study.failure is not None
    assert "10 of 10 trials failed as exception" in study.failure.message
    story.holds()


def test_f46_a_study_without_any_value_has_no_best(new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=2)
    story.prepare()
    for _ in range(2):
        story.tell(story.take(), failure_class="exception")
    service = story.world.services[0]
    assert show_study(service.store, story.name).state == "failed"
    with pytest.raises(NoBest):
        describe_best(service.store, service.files, story.name)
    story.holds()
