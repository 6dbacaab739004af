"""Carries out what the supervisor says, in the process that trains: one assignment after the other."""

import logging
import platform
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import torch
import transformers

from spezia.contract.assignments import (
    Assignment,
    ConfirmAssignment,
    PrepareAssignment,
    ProbeAssignment,
    ReplayAssignment,
    ScoreAssignment,
    SmallAssignment,
    TrialAssignment,
)
from spezia.contract.facts import Facts
from spezia.contract.outcomes import MAX_REPLAYED, ReplayedEvaluation
from spezia.contract.step_times import StepTimes
from trainer import messages
from trainer.engine.channel import Channel
from trainer.engine.failures import failure_of
from trainer.engine.warm_studies import WarmStudies
from trainer.model.best_model import BestModel
from trainer.model.device import describe_device
from trainer.model.device_memory import peak_memory, reset_peak_memory
from trainer.model.memory_hints import MemoryHints
from trainer.model.products import faster_products
from trainer.train.checkpoint import Checkpoints, Preempted
from trainer.train.confirm_run import confirm_run
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.linear_probe import measure_similarity
from trainer.train.pause_costs import PauseCosts
from trainer.train.pilot import run_pilot
from trainer.train.prepare import Prepared
from trainer.train.score import score
from trainer.train.script import run_script
from trainer.train.script_file import open_script
from trainer.train.time_steps import time_steps
from trainer.trial.checkpoint_folder import CheckpointFolder
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

_VERSIONS = {
    "python": platform.python_version(),
    "torch": torch.__version__,
    "transformers": transformers.__version__,
}

_LOG = logging.getLogger(__name__)


class Engine:
    """Carries out one assignment after the other."""

    def __init__(
        self,
        channel: Channel,
        *,
        roots: Sequence[Path],
        device: torch.device,
        checkpoint_dir: Path | None = None,
        checkpoint_bytes: int | None = None,
        cache: TrunkCache | None = None,
        script_folders: Sequence[Path] = (),
    ) -> None:
        """Make an engine that has nothing in memory yet.

        Args:
            roots: folders that data and models must lie in.
            checkpoint_dir: where trials are saved; without it no trial outlives the process.
            checkpoint_bytes: what that folder may hold; ``None``: half of the disk that is free without it.
            cache: keeps the output of frozen blocks; ``None``: it is computed for every batch.
            script_folders: folders of scripts that may be run.
        """
        self._channel = channel
        self._device = device
        self._script_folders = script_folders
        self._checkpoints = CheckpointFolder(checkpoint_dir, checkpoint_bytes) if checkpoint_dir else None
        self._pause_costs = PauseCosts()
        self._cache = cache
        self._hints = MemoryHints(checkpoint_dir / "memory" if checkpoint_dir else None)
        self._warm = WarmStudies(roots, device)
        self._replayed: list[ReplayedEvaluation] = []
        self._is_first_step = False
        self._trunk_seconds_before = 0.0

    def run(self) -> None:
        """Work until the supervisor is gone, which ends the process."""
        self._channel.send(messages.Hello(device=describe_device(self._device), versions=_VERSIONS))
        while True:
            command = self._channel.receive()
            if isinstance(command, messages.Work):  # an answer to a trial that has failed meanwhile is void
                self._channel.send(self._carry_out(command))
                self._warm.copy_ahead(command.assignment)

    def note_step(self, *_: object) -> None:
        """Say that a trial trains once it has made an optimizer step; to be called after each one."""
        if self._is_first_step:
            self._is_first_step = False
            self._channel.send(messages.Training(trunk_seconds=self._trunk_seconds() - self._trunk_seconds_before))

    def _trunk_seconds(self) -> float:
        return self._cache.seconds_spent if self._cache else 0.0

    def _carry_out(self, work: messages.Work) -> messages.Ended | messages.Failed | messages.Preempted:
        self._replayed = []
        try:
            return self._end_of(work.assignment, Path(work.directory))
        except Preempted:
            return messages.Preempted()
        except Exception as error:  # a trial may raise anything; all of it is reported, in its class
            traceback.print_exc()
            return messages.Failed(failure=failure_of(error), replayed=self._replayed)

    def _end_of(self, assignment: Assignment, directory: Path) -> messages.Ended:
        self._warm.drop_copies(assignment)
        if assignment.spec.task == "script":
            return self._end_of_script(assignment)
        prepared = self._warm.prepared_for(assignment)
        with faster_products(self._device, prepared.facts.precision):
            match assignment:
                case PrepareAssignment():
                    return self._facts(prepared)
                case ProbeAssignment():
                    return self._probe(assignment.facts, prepared)
                case SmallAssignment():
                    return self._pilot(assignment, prepared)
                case TrialAssignment():
                    return self._trial(assignment, prepared, directory)
                case ReplayAssignment():
                    return self._replay(assignment, self._rerun(assignment, prepared))
                case ConfirmAssignment():
                    return self._confirm(assignment, prepared)
                case ScoreAssignment():
                    return messages.Ended(metrics=score(directory, prepared))

    def _end_of_script(self, assignment: Assignment) -> messages.Ended:
        assert assignment.spec.script is not None
        facts = None if isinstance(assignment, PrepareAssignment) else assignment.facts
        with open_script(assignment.spec.script, self._script_folders, facts) as script:
            if not isinstance(assignment, TrialAssignment | ReplayAssignment):
                return messages.Ended(facts=script.facts)
            with closing(run_script(script.train, assignment.params, assignment.spec.wanted_metrics)) as evaluations:
                if isinstance(assignment, ReplayAssignment):
                    return self._replay(assignment, evaluations)
                for evaluation in evaluations:
                    if self._channel.stop_wanted.is_set():
                        raise Preempted
                    if not self._ask(evaluation).go_on:
                        break
        return messages.Ended()

    def _facts(self, prepared: Prepared) -> messages.Ended:
        facts = prepared.facts
        if not facts.awaits_step_times:
            self._channel.send(messages.Found(facts=facts))
            facts = facts.model_copy(update={"step_times": self._step_times(prepared)})
        return messages.Ended(facts=facts)

    def _probe(self, facts: Facts, prepared: Prepared) -> messages.Ended:
        """Measure what ``facts`` awaits; ``prepared`` may be older. Timing may kill the process, so it comes last."""
        similarity = measure_similarity(prepared) if facts.awaits_similarity else None
        if not facts.awaits_step_times:
            return messages.Ended(similarity=similarity)
        if facts.awaits_similarity:
            self._channel.send(messages.Found(similarity=similarity))
        return messages.Ended(similarity=similarity, step_times=self._step_times(prepared))

    def _step_times(self, prepared: Prepared) -> StepTimes:
        return time_steps(prepared, uses_cache=self._cache is not None)

    def _pilot(self, assignment: SmallAssignment, prepared: Prepared) -> messages.Ended:
        metrics = run_pilot(
            prepared,
            TrialConfig.from_params(assignment.params),
            fraction=assignment.fraction,
            number=assignment.number,
            hints=self._hints,
            cache=self._cache,
        )
        return messages.Ended(metrics=metrics)

    def _confirm(self, assignment: ConfirmAssignment, prepared: Prepared) -> messages.Ended:
        confirmed = confirm_run(
            prepared,
            TrialConfig.from_params(assignment.params),
            fresh_seed=assignment.fresh_seed,
            evaluate_at=assignment.evaluate_at,
            hints=self._hints,
            cache=self._cache,
        )
        return messages.Ended(metrics=confirmed.metrics, row_scores=confirmed.row_scores)

    def _rerun(self, assignment: ReplayAssignment, prepared: Prepared) -> Iterator[Evaluation]:
        """Run a trial again from its beginning; it saves nothing and is never told to stop."""
        return fine_tune(
            prepared,
            TrialConfig.from_params(assignment.params),
            seed=assignment.spec.seed,
            number=assignment.number,
            best=BestModel(),
            evaluate_at=assignment.evaluate_at,
            partial_at=assignment.partial_at,
            hints=self._hints,
            cache=self._cache,
        )

    def _replay(self, assignment: ReplayAssignment, evaluations: Iterable[Evaluation]) -> messages.Ended:
        for one in evaluations:
            if len(self._replayed) < MAX_REPLAYED:
                self._replayed.append(ReplayedEvaluation(step=one.step, value=one.value, metrics=one.metrics))
            if one.step == assignment.last_step:
                break
        return messages.Ended(replayed=self._replayed)

    def _trial(self, assignment: TrialAssignment, prepared: Prepared, directory: Path) -> messages.Ended:
        config = TrialConfig.from_params(assignment.params)
        best = BestModel()
        answer = messages.Answer(go_on=True)
        checkpoints = self._checkpoints_of(assignment, is_pause_wanted=lambda: answer.pause)
        reset_peak_memory()
        self._is_first_step, self._trunk_seconds_before = True, self._trunk_seconds()
        for evaluation in fine_tune(
            prepared,
            config,
            seed=assignment.spec.seed,
            number=assignment.number,
            best=best,
            evaluate_at=assignment.evaluate_at,
            partial_at=assignment.partial_at,
            checkpoints=checkpoints,
            hints=self._hints,
            cache=self._cache,
        ):
            answer = self._ask(evaluation)
            if answer.pause and checkpoints is None:
                raise Preempted
            if not answer.go_on:
                break
        if peak := peak_memory():
            _LOG.info("peak memory on the device: %.2f GB", peak / 1e9)
        if answer.go_on and answer.keep_model:
            best.save(directory)
            return messages.Ended(model_saved=True)
        return messages.Ended()

    def _checkpoints_of(self, assignment: TrialAssignment, is_pause_wanted: Callable[[], bool]) -> Checkpoints | None:
        if self._checkpoints is None:
            return None
        return Checkpoints(
            folder=self._checkpoints,
            study_id=assignment.study_id,
            number=assignment.number,
            attempt=assignment.attempt,
            versions=_VERSIONS,
            resume=assignment.resume,
            is_stop_wanted=self._channel.stop_wanted.is_set,
            is_pause_wanted=is_pause_wanted,
            costs=self._pause_costs,
        )

    def _ask(self, evaluation: Evaluation) -> messages.Answer:
        self._channel.send(
            messages.Evaluated(
                step=evaluation.step,
                epoch=evaluation.epoch,
                optimizer_steps=evaluation.optimizer_steps,
                value=evaluation.value,
                metrics=evaluation.metrics,
                final=evaluation.final,
                partial=evaluation.partial,
                speed=evaluation.speed,
            )
        )
        answer = self._channel.receive()
        assert isinstance(answer, messages.Answer)
        return answer
