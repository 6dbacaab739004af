"""Whether pilots rank params as full trials do."""

import pytest
from fastapi.testclient import TestClient

from tests.service.hand_worker import HandWorker
from tests.service.pilots import begin_with_pilots, run_pilots, study


@pytest.mark.parametrize(
    ("small", "full", "expected"),
    [
        ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 1.0),
        ((0.1, 0.2, 0.3), (0.6, 0.5, 0.4), -1.0),
        ((0.1, 0.2, 0.3), (0.5, 0.4, 0.6), 0.5),
        ((0.1, 0.2, 0.2, 0.3), (0.4, 0.6, 0.5, 0.7), 0.9486833),  # a tie, as scipy.stats.spearmanr has it
        ((0.1, 0.1, 0.1), (0.4, 0.5, 0.6), None),
    ],
)
def test_the_rank_correlation_is_spearmans(
    http: TestClient,
    worker: HandWorker,
    small: tuple[float, ...],
    full: tuple[float, ...],
    expected: float | None,
) -> None:
    begin_with_pilots(http, worker, n_trials=len(full), start_small={"fraction": 0.1, "trials": len(small)})
    run_pilots(worker, *small)
    for value in full:
        worker.run_trial(value)
    assert study(http)["start_small"]["rank_correlation"] == pytest.approx(expected)


def test_a_trial_that_was_pruned_or_failed_is_not_compared(http: TestClient, worker: HandWorker) -> None:
    begin_with_pilots(http, worker)
    run_pilots(worker, 0.1, 0.2, 0.3)
    worker.run_trial(0.4)
    assert worker.fail(worker.take()).status_code == 200
    shown = study(http)["start_small"]
    assert [run["full_value"] for run in shown["runs"]] == [0.4, None, None]
    assert (shown["n_compared"], shown["rank_correlation"]) == (1, None)
