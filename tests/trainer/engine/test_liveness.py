"""A pulse means movement: of Python code, or of an optimizer."""

import threading

from trainer.engine.liveness import Pulse, position_of


def test_it_beats_only_when_something_has_moved() -> None:
    beats: list[str] = []
    where = [((1, 2),)]
    pulse = Pulse(lambda: beats.append("beat"), lambda: where[0])
    pulse.look()
    pulse.look()
    assert len(beats) == 1
    where[0] = ((1, 4),)
    pulse.look()
    assert len(beats) == 2


def test_optimizer_step_at_the_same_place_is_movement() -> None:
    beats: list[str] = []
    pulse = Pulse(lambda: beats.append("beat"), lambda: ())
    pulse.look()
    pulse.count_step("optimizer", (), {})
    pulse.look()
    assert len(beats) == 2


def test_position_is_that_of_the_whole_stack() -> None:
    here, go_on = threading.Event(), threading.Event()

    def work() -> None:
        here.set()
        go_on.wait()

    thread = threading.Thread(target=work)
    thread.start()
    here.wait()
    assert thread.ident is not None
    position = position_of(thread.ident)
    assert id(work.__code__) in dict(position)
    go_on.set()
    thread.join()
    assert position_of(thread.ident) == ()
