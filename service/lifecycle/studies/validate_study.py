"""Say what a study would be and what to think about again, without starting it (POST /v1/studies:validate)."""

from service.lifecycle.studies.advise import Adviser
from service.lifecycle.studies.check_spec import check_spec
from service.search.plan_words import plan_words
from service.search.pruning.pruners import longest_schedule
from service.search.space.space_size import n_searched, space_size, trials_advised
from spezia.contract.study_spec import StudySpec
from spezia.contract.validation import Validation


def validate_study(spec: StudySpec) -> Validation:
    """Describe the study that this spec would be.

    Raises:
        Invalid: As `check_spec` finds.
    """
    filled = check_spec(spec)
    size = space_size(filled)
    advised = Adviser(filled).on_spec()
    return Validation(
        spec=filled,
        plan=plan_words(filled),
        warnings=[one.warning for one in advised],
        advice=[one.advice for one in advised if one.advice is not None],
        n_parameters=n_searched(filled),
        size_of_space=size,
        n_trials=filled.n_trials if size is None else min(size, filled.n_trials),
        n_trials_advised=trials_advised(filled),
        longest_trial_evaluations=None if filled.task == "script" else longest_schedule(filled),
    )
