"""The interval of a gain holds the true one about as often as it says, and is never sure of noise."""

import numpy as np
import pytest

from service.search.results.confirmed_gain import confirmed_gain

N_STUDIES = 150


def test_the_standard_error_is_that_of_rows_and_seeds() -> None:
    chance = np.random.default_rng(1)
    rows_R, seeds_S = chance.standard_normal(400), chance.standard_normal(40)
    chosen_SR = rows_R + 0.1 * seeds_S[:, None]
    baseline_SR = np.zeros((40, 400))
    gain = confirmed_gain(baseline_SR, chosen_SR, sign=1, n_choices=1)
    expected = np.sqrt(rows_R.var(ddof=1) / 400 + 0.01 * seeds_S.var(ddof=1) / 40)
    assert gain.value == pytest.approx(-chosen_SR.mean())
    assert (gain.high - gain.value) / expected == pytest.approx(1.97, rel=0.06)  # t of many degrees of freedom


def test_three_seeds_alone_give_the_t_interval_of_welch() -> None:
    baseline_S, chosen_S = np.array([[0.90], [0.92], [0.97]]), np.array([[0.50], [0.52], [0.51]])
    gain = confirmed_gain(baseline_S, chosen_S, sign=1, n_choices=1)
    # scipy.stats.ttest_ind(…, equal_var=False): 2.29 degrees of freedom, standard error 0.02186, t 3.82
    assert gain.high - gain.value == pytest.approx(0.02186 * 3.82, rel=0.06)
    assert confirmed_gain(baseline_S, chosen_S, sign=-1, n_choices=1).value == pytest.approx(-gain.value)


@pytest.mark.parametrize("n_choices", [1, 3])
def test_of_the_best_of_several_that_are_no_better_few_are_called_better(n_choices: int) -> None:
    chance = np.random.default_rng(2)
    n_claims = 0
    for _ in range(N_STUDIES):
        of_all = [chance.normal(0, 0.05, (3, 1)) for _ in range(n_choices + 1)]
        best = min(of_all[1:], key=lambda scores_S: float(scores_S.mean()))
        n_claims += confirmed_gain(of_all[0], best, sign=1, n_choices=n_choices).low > 0
    assert n_claims <= 0.06 * N_STUDIES  # of 2.5 % that are meant


def test_the_same_runs_have_the_same_interval() -> None:
    chance = np.random.default_rng(3)
    baseline_SR, chosen_SR = chance.normal(0, 1, (2, 3, 5_000))
    assert confirmed_gain(baseline_SR, chosen_SR, sign=1, n_choices=2) == confirmed_gain(
        baseline_SR, chosen_SR, sign=1, n_choices=2
    )


def test_the_error_is_shared_out_among_those_that_might_have_been_chosen() -> None:
    chance = np.random.default_rng(4)
    baseline_SR, chosen_SR = chance.normal(0, 1, (2, 40, 1))
    alone, among_five = (confirmed_gain(baseline_SR, chosen_SR, sign=1, n_choices=n) for n in (1, 5))
    widths = (among_five.high - among_five.low) / (alone.high - alone.low)
    assert widths == pytest.approx(2.64 / 1.99, rel=0.01)  # t of about 78 degrees of freedom at 99.5 and 97.5 %
