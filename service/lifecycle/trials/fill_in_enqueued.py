"""Give params to trials that were enqueued with Optuna's own ``Study.enqueue_trial``, which stores only wishes."""

from service.search.propose.propose import ProposalRequest
from service.search.propose.proposer import Proposer
from service.search.space.params import plain_params
from service.store import trials
from service.store.studies import StudyRow
from service.store.transaction import Transaction
from service.store.trials import FrozenTrial
from spezia.contract.failure import Failure
from spezia.contract.samplers import GridSampler
from spezia.contract.study_spec import params_errors


def fill_in_enqueued(tx: Transaction, proposer: Proposer, study: StudyRow) -> bool:
    """Fill in the WAITING trials of a locked study that another program has enqueued, as `enqueue_trial` does its own.

    Those that ask for what the study does not search end as cancelled.

    Returns:
        Whether none had to end.
    """
    reasons = [_fill_in(tx, proposer, study, trial) for trial in trials.unready(tx, study)]
    return not any(reasons)


def _fill_in(tx: Transaction, proposer: Proposer, study: StudyRow, trial: FrozenTrial) -> str | None:
    """Return why a trial had to end; ``None`` if it can run."""
    wished = plain_params(trials.wished(trial))
    errors = params_errors(study.spec, wished)
    reason = "; ".join(message for _, message, _ in errors)
    if not errors:
        seen = trials.all_of(tx, study) if isinstance(study.spec.sampler, GridSampler) else []
        request = ProposalRequest(
            spec=study.spec, study_name=study.name, number=trial.number, trials=seen, fixed=wished
        )
        proposal = proposer.propose(request)
        if proposal is not None:
            trials.make_ready(tx, trial, proposal.params, proposal.distributions)
            return None
        reason = "the study has tried every point of its grid"
    message = f"this trial was enqueued outside Spezia and cannot run: {reason}"[:2000]
    trials.finish(tx, study, trial, "FAIL", None, Failure(failure_class="cancelled", message=message))
    return message
