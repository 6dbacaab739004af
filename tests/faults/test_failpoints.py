"""Every step at which the service may die, one after the other: the study ends whole, whichever it is."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service import failpoints
from service.errors import StudyNotFound
from service.failpoints import Injected, arm_from, armed
from service.lifecycle.leases.reap import reap
from service.lifecycle.model_folders import remove_unused_folders
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.delete_study import delete_study
from service.lifecycle.studies.plan_study import plan_study
from spezia.contract.study_spec import StudySpec
from tests.faults import actors
from tests.faults.invariants import violations
from tests.faults.world import World
from tests.service.hand_worker import spec

SERVICE = Path(failpoints.__file__).parent


def names() -> list[str]:
    """All failpoints in the source, but for those of commands, whose tests kill them."""
    found = (
        node.args[0].value
        for path in SERVICE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint"
        if isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    )
    return sorted(name for name in found if not name.startswith(("copy.", "prune.")))


class DiesOnce:
    """Raises the first time; counts all."""

    def __init__(self) -> None:
        self.n_hits = 0

    def __call__(self) -> None:
        self.n_hits += 1
        if self.n_hits == 1:
            raise Injected("the service dies here")


@pytest.mark.parametrize("name", names())
def test_the_service_may_die_at_any_step(name: str, new_world: Callable[..., World]) -> None:
    death = DiesOnce()
    with armed(name, death):
        # the sending of a checkpoint is a story of its own: others would only take longer by it
        story = sent_checkpoint if name.startswith(("ask.", "checkpoint.")) else whole_protocol
        world = story(new_world())
    assert death.n_hits > 0, "no test comes by here"
    assert world.complaints == []


def test_no_step_has_two_names_and_no_name_two_steps() -> None:
    assert len(names()) == len(set(names())) > 20


def whole_protocol(world: World) -> World:
    """Go through every call of the protocol, insisting as a worker does."""
    wanted = StudySpec.model_validate(spec(name="whole", data={"train": "a.csv", "test": "b.csv"}, n_trials=2))
    service = world.services[0]
    insist(lambda: create_study(service.store, plan_study(wanted)))
    first, second = "1" * 32, "2" * 32
    for worker_id in (first, second):
        ask(world, actors.registering(worker_id))
    ask(world, actors.asking(first))
    (prepare,) = ask(world, actors.asking(first))  # handed out again
    ask(world, actors.telling(prepare, actors.result("prepare", actors.STEADY)))
    (given_back,) = ask(world, actors.asking(first))
    ask(world, actors.releasing(given_back))
    (lost,) = ask(world, actors.asking(first))
    ask(world, actors.reporting(lost, 1, 0.5, final=False))
    ask(world, actors.beating(actors.held_by(lost)))
    for _ in range(8):
        world.clock.advance(15.0)
        insist(lambda: reap(service.store))
    for _ in range(20):
        for assignment in ask(world, actors.asking(second)):
            carry_out(world, assignment)
    assert world.state_of("whole") == "complete"
    remove_unused_folders(service.store, world.files)
    world.check(is_quiet=True)
    insist(lambda: delete_study(service.store, world.files, "whole"), StudyNotFound)
    return world


def sent_checkpoint(world: World) -> World:
    """Let a trial be paused by one worker and go on with another one, to which its checkpoint is sent."""
    holder, other = "1" * 32, "2" * 32
    for worker_id in (holder, other):
        ask(world, actors.registering(worker_id))
    rungs = {"name": "rungs", "options": {"eta": 2, "first": 1, "top": 1}}
    wanted = StudySpec.model_validate(spec(name="sent", pruner=rungs, fixed={"epochs": 4}, n_trials=3))
    store = world.services[0].store
    insist(lambda: create_study(store, plan_study(wanted)))
    (prepare,) = ask(world, actors.asking(holder))
    ask(world, actors.telling(prepare, actors.result("prepare", actors.STEADY)))
    (paused,) = ask(world, actors.asking(holder))
    ask(world, actors.reporting(paused, 1, 0.5, final=False))
    ask(world, actors.releasing(paused, "paused"))
    (busy_with,) = ask(world, actors.asking(holder))
    (worse,) = ask(world, actors.asking(other))
    ask(world, actors.reporting(worse, 1, 0.6, final=False))
    ask(world, actors.releasing(worse, "paused"))
    assert ask(world, actors.asking(other)) == []
    (asked_for,) = ask(world, actors.beating(actors.held_by(busy_with))).checkpoints
    ask(world, actors.sending(asked_for))
    (promoted,) = ask(world, actors.asking(other))
    assert (promoted.number, promoted.resume.step) == (paused.number, 1)
    assert ask(world, actors.fetching(promoted)) == actors.checkpoint_of(paused.number, 1)
    world.complaints += violations(world.engine, world.folder)
    return world


def carry_out(world: World, held: Any) -> None:
    if held.kind == "trial":
        (reply,) = ask(world, actors.reporting(held, 1, 0.5 - 0.1 * held.number, final=True))
        if reply.keep_model:
            ask(world, actors.uploading(held, "model.bin"))
    ask(world, actors.telling(held, actors.result(held.kind, actors.STEADY)))


def ask(world: World, request: Any) -> Any:
    while (reply := world.deliver(request, world.services[0])) is None:
        pass
    return reply


def insist(call: Callable[[], object], done: type[Exception] = Injected) -> None:
    """Call until it succeeds, or until ``done`` says that it had succeeded before."""
    while True:
        try:
            call()
        except (Injected, ExceptionGroup) as error:
            if not is_death(error):
                raise
            continue
        except done:
            pass
        return


def is_death(error: Injected | ExceptionGroup[Exception]) -> bool:
    """Whether only the injected death was raised; the reaper goes on with other leases and groups what failed."""
    return isinstance(error, Injected) or error.split(Injected)[1] is None


def test_failpoints_are_armed_by_a_line_of_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failpoints, "_armed", {})
    arm_from("one=raise@2;two=raise")
    failpoints.failpoint("one")
    for name in ("one", "two"):
        with pytest.raises(Injected, match=name):
            failpoints.failpoint(name)
        failpoints.failpoint(name)
    with pytest.raises(ValueError, match="NAME=kill"):
        arm_from("one=sleep")
