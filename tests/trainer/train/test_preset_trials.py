"""Every preset through the whole trainer: what it says to begin with, and what its ranges hold, trains."""

import math
from pathlib import Path

import pytest

from service.search.baseline import baseline
from service.search.presets.fill_preset import fill_preset
from service.search.presets.presets import PRESETS
from service.search.space.params import trial_params
from spezia.contract.study_spec import StudySpec
from tests.service.search.builders import History
from tests.trainer import tiny
from tests.trainer.task_cases import CASES, TaskCase
from trainer.model.best_model import BestModel
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import prepare
from trainer.trial.config import TrialConfig

PAIRS = [(name, case) for name, preset in PRESETS.items() for case in CASES if case.task in preset.tasks]


def _slim() -> list[tuple[str, TaskCase]]:
    """Each preset once, and of the kinds of study that it is for the one that has been taken least."""
    taken = {case.id: 0 for case in CASES}
    chosen = []
    for name in PRESETS:
        case = min((case for preset, case in PAIRS if preset == name), key=lambda case: taken[case.id])
        taken[case.id] += 1
        chosen.append((name, case))
    return chosen


SLIM = _slim()


def make_spec(name: str, case: TaskCase) -> StudySpec:
    """The preset is the whole space, but for the length of a trial."""
    training = {"similarity": False, "early_stopping_patience": None}
    spec = tiny.make_spec(**case.spec(preset=name, fixed={"epochs": 1}, sampler={"name": "random"}, training=training))
    return fill_preset(spec.model_copy(update={"search_space": {}}))


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(*pair, id=f"{pair[0]}-{pair[1].id}", marks=[] if pair in SLIM else pytest.mark.slow)
        for pair in PAIRS
    ],
)
def test_the_default_and_a_drawn_trial_of_a_preset_train(name: str, case: TaskCase, tmp_path: Path) -> None:
    case.write(tmp_path)
    history = History(make_spec(name, case))
    prepared = prepare(history.spec, roots=[tmp_path], device=tiny.CPU)
    start = baseline(history.spec, prepared.facts).params
    for number, given in enumerate((start, None)):
        proposal = history.propose(given)
        assert proposal is not None
        history.start(proposal)
        config = TrialConfig.from_params(trial_params(history.spec, proposal.params))
        (evaluation,) = fine_tune(prepared, config, seed=0, number=number, best=BestModel())
        assert evaluation.final
        assert all(math.isfinite(value) for value in evaluation.metrics.values())
