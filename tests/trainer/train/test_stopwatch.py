from trainer.train.stopwatch import Stopwatch


def test_what_happens_in_a_pause_is_not_counted() -> None:
    times = iter([10.0, 13.0, 113.0, 114.0])
    stopwatch = Stopwatch(lambda: next(times))
    with stopwatch.paused():
        pass
    assert stopwatch.seconds == 4.0
