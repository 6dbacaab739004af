"""What a study of very many trials costs a service process: memory for its snapshot, and the next proposal.

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/many_trials.py [--trials 1000 10000 100000] [--reports 20]

Trials are made in memory, complete, of seven parameters, with so many values each. One JSON line for each number of
trials: kilobytes of memory a trial, and for each sampler the median milliseconds of five proposals.
"""

import argparse
import json
import os
import random
import statistics
import time
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from benchmarks.control_plane import STUDY, draw_one, make_spec
from benchmarks.processes import memory_mb
from service.search.propose.propose import ProposalRequest, propose
from service.search.space.distributions import to_optuna
from spezia.contract.study_spec import MAX_TRIALS, StudySpec

SAMPLERS = ("random", "qmc", "tpe")
REPEATS = 5
ENDED = datetime.now(UTC).replace(tzinfo=None)
"""When all trials have ended, as Optuna writes it."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--reports", type=int, default=20)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    specs = {name: StudySpec.model_validate(make_spec(name, MAX_TRIALS)) for name in SAMPLERS}
    draw = random.Random(0)
    distributions = to_optuna(specs["random"].search_space)
    for n_trials in options.trials:
        before = memory_mb([os.getpid()])
        trials = [make_trial(number, options.reports, distributions, draw) for number in range(n_trials)]
        grown_mb = memory_mb([os.getpid()]) - before
        row: dict[str, Any] = {"trials": n_trials, "reports": options.reports}
        row["kb_per_trial"] = round(1000 * grown_mb / n_trials, 2)
        row |= {f"{name}_ms": proposal_ms(spec, trials) for name, spec in specs.items()}
        print(json.dumps(row), flush=True)


def make_trial(
    number: int, n_reports: int, distributions: dict[str, BaseDistribution], draw: random.Random
) -> FrozenTrial:
    values = {step: draw.random() + 1 / step for step in range(1, n_reports + 1)}
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=TrialState.COMPLETE,
        value=min(values.values()),
        datetime_start=ENDED,
        datetime_complete=ENDED,
        params={name: draw_one(one, draw) for name, one in distributions.items()},
        distributions=distributions,
        user_attrs={},
        system_attrs={},
        intermediate_values=values,
    )


def proposal_ms(spec: StudySpec, trials: list[FrozenTrial]) -> float:
    request = ProposalRequest(spec=spec, study_name=STUDY, number=len(trials), trials=trials)
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        propose(request)
        taken.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(taken), 1)


if __name__ == "__main__":
    main()
