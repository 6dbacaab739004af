"""What an engine prints is passed on once, and not all of a flood."""

import os

from trainer.supervisor.engine_log import EngineLog


def test_log_is_what_came_since_the_last_look_and_not_a_flood() -> None:
    log = EngineLog()
    os.write(log.fileno(), b"before\n")
    log.start()
    os.write(log.fileno(), "café\n".encode())
    assert log.take() == "café\n"
    assert log.take() == ""
    os.write(log.fileno(), b"a" * 200_000 + b"b" * 200_000)
    flood = log.take()
    assert len(flood) < 263_000
    assert "137856 bytes left out" in flood
    assert (flood[0], flood[-1]) == ("a", "b")
