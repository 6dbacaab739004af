"""Enqueue a trial of given params (POST /v1/studies/{name}/trials)."""

from service.errors import Invalid, NotPrepared, StudyEnded
from service.lifecycle.studies.change_limits import allow_one_more_trial
from service.lifecycle.trials.show_trial import show_trial
from service.search.propose.propose import ProposalRequest
from service.search.propose.proposer import Proposer
from service.store import studies, trials
from service.store.store import Store
from spezia.contract.problem import FieldProblem
from spezia.contract.samplers import GridSampler
from spezia.contract.study_spec import Params, params_errors
from spezia.contract.trial import TrialDetail


def enqueue_trial(store: Store, proposer: Proposer, name: str, params: Params) -> TrialDetail:
    """Add a WAITING trial of ``params``; what they leave out is drawn at random (in a grid: the next point).

    ``n_trials`` grows by one, and an ended study goes on for this one trial.

    Raises:
        StudyNotFound: There is no study of this name.
        NotPrepared: The first trials of the study do not exist yet.
        StudyEnded: The study cannot go on.
        Invalid: The params lie outside the search space.
    """
    with store.writing() as tx:
        study = studies.lock(tx, name)
        if errors := params_errors(study.spec, params):
            raise Invalid(*(FieldProblem(field=f"params.{loc[0]}", message=message) for loc, message, _ in errors))
        if study.facts is None:
            raise NotPrepared(name)
        study = allow_one_more_trial(tx, study)
        seen = trials.all_of(tx, study)
        # a sampler that has seen nothing only fills by chance what is left out: no model is built under the lock
        known = seen if isinstance(study.spec.sampler, GridSampler) else []
        request = ProposalRequest(spec=study.spec, study_name=study.name, number=len(seen), trials=known, fixed=params)
        proposal = proposer.propose(request)
        if proposal is None:
            raise StudyEnded(f"study {name!r} has tried every point of its grid; say which params to try again")
        # not `add_proposed`: what a sampler that has seen nothing keeps of the study must not replace what it has kept
        added = trials.add(
            tx,
            study,
            "WAITING",
            proposal.params,
            proposal.distributions,
            system_attrs=proposal.system_attrs,
            user_attrs={},
        )
        return show_trial(store.within(tx), name, added.number)
