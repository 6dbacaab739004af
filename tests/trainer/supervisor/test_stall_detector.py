"""A silent engine is waited for as long as its steps let expect."""

from tests.trainer.supervisor.clock import Clock
from trainer.supervisor.stall_detector import StallDetector


def test_stall_is_ten_minutes_or_twenty_steps(clock: Clock) -> None:
    detector = StallDetector(clock=clock)
    assert detector.seconds_left() == 600.0
    for seconds in (1.0, 29.0, 100.0):
        clock.now += seconds
        detector.heard()
    assert detector.seconds_left() == 600.0  # the median step took 29 s
    clock.now += 100.0
    detector.heard()
    assert detector.seconds_left() == 20 * (29.0 + 100.0) / 2


def test_time_of_others_is_not_held_against_the_engine(clock: Clock) -> None:
    detector = StallDetector(clock=clock)
    detector.heard()
    clock.now += 5_000.0
    assert detector.seconds_left() < 0
    detector.resume()
    assert detector.seconds_left() == 600.0
    assert detector.seconds == 600.0
