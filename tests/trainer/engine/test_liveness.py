"""The engine says that it is alive only when something moves: Python code, or an optimizer."""

import threading

from trainer.engine.liveness import Liveness, position_of


def test_it_speaks_only_when_something_has_moved() -> None:
    said: list[str] = []
    where = [((1, 2),)]
    liveness = Liveness(lambda: said.append("alive"), lambda: where[0])
    liveness.look()
    liveness.look()
    assert len(said) == 1
    where[0] = ((1, 4),)
    liveness.look()
    assert len(said) == 2


def test_optimizer_step_at_the_same_place_is_movement() -> None:
    said: list[str] = []
    liveness = Liveness(lambda: said.append("alive"), lambda: ())
    liveness.look()
    liveness.count_step("optimizer", (), {})
    liveness.look()
    assert len(said) == 2


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
