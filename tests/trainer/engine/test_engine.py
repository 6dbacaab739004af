"""The engine's way with errors, with studies that stay warm, and with stopping."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import PreTrainedModel

from service.lifecycle.replays.compare_replay import CLOSE
from spezia.contract.assignments import Resume
from spezia.contract.facts import Facts
from tests.fake_service import assignment
from tests.trainer import tiny
from tests.trainer.scripted_channel import ScriptedChannel
from tests.trainer.short_memory import fail_once
from trainer import messages
from trainer.engine import warm_studies
from trainer.engine.engine import Engine
from trainer.errors import Diverged
from trainer.model.pretrained import Pretrained
from trainer.model.products import come_from_onednn
from trainer.train import trial_steps
from trainer.train.prepare import prepare
from trainer.trunk.cache import TrunkCache


@pytest.fixture
def play(pristine: Path) -> Callable[..., list[Any]]:
    """Play commands to an engine; its events after the greeting."""

    def run(*commands: messages.Command) -> list[Any]:
        script = ScriptedChannel(*commands)
        with pytest.raises(EOFError):
            Engine(script, roots=[pristine], device=tiny.CPU).run()  # type: ignore[arg-type]
        greeting, *events = script.events
        assert greeting.device.kind == "cpu"
        assert set(greeting.versions) == {"python", "torch", "transformers"}
        return events

    return run


@pytest.fixture(scope="module")
def facts(prepared: Any) -> Facts:
    known: Facts = prepared.facts
    return known


def work(kind: str, directory: Path | str = "", **changes: Any) -> messages.Work:
    changes = dict[str, Any](spec=tiny.make_spec(), token="") | changes
    return messages.Work(assignment=assignment(kind, **changes), directory=str(directory))


def probe(facts: Facts, **changes: Any) -> messages.Work:
    """A probe of the similarity alone."""
    return work("probe", facts=facts.model_copy(update={"awaits_step_times": False}), **changes)


def trial(facts: Facts, directory: Path | str = "", **changes: Any) -> messages.Work:
    params = {"learning_rate": 1e-3, "epochs": 2, "batch_size": 16}
    return work("trial", directory, **({"facts": facts, "params": params} | changes))


def replay(facts: Facts, directory: Path | str = "", **changes: Any) -> messages.Work:
    params = {"learning_rate": 1e-3, "epochs": 2, "batch_size": 16}
    return work("replay", directory, **({"facts": facts, "params": params} | changes))


def test_prepare_states_the_facts_and_leaves_steps_to_the_probe(play: Callable[..., list[Any]], facts: Facts) -> None:
    (ended,) = play(work("prepare"))
    assert ended == messages.Ended(facts=facts)
    assert (facts.awaits_similarity, facts.awaits_step_times, facts.step_times) == (True, True, None)


def test_under_rungs_steps_are_timed_before_the_first_trial(play: Callable[..., list[Any]], facts: Facts) -> None:
    found, ended = play(work("prepare", spec=tiny.make_spec(pruner={"name": "rungs"})))
    facts = facts.model_copy(update={"awaits_step_times": False})
    assert found == messages.Found(facts=facts)
    assert ended.facts.step_times.kinds
    assert ended == messages.Ended(facts=facts.model_copy(update={"step_times": ended.facts.step_times}))


def test_a_probe_measures_the_similarity_before_it_times_steps(play: Callable[..., list[Any]], facts: Facts) -> None:
    found, ended = play(work("probe", facts=facts))
    assert found.similarity.metrics["skill"] <= 1
    assert ended.step_times.kinds
    assert found == messages.Found(similarity=ended.similarity)
    assert ended.facts is None


@pytest.mark.parametrize("awaited", ["similarity", "step_times"])
def test_a_probe_measures_no_more_than_is_awaited(play: Callable[..., list[Any]], facts: Facts, awaited: str) -> None:
    waits = {f"awaits_{name}": name == awaited for name in ("similarity", "step_times")}
    (ended,) = play(work("probe", facts=facts.model_copy(update=waits)))
    measured = {name for name in ("similarity", "step_times") if getattr(ended, name) is not None}
    assert measured == {awaited}


def test_a_run_under_a_fresh_seed_tells_metrics_and_rows(
    play: Callable[..., list[Any]], facts: Facts, tmp_path: Path
) -> None:
    params = {"learning_rate": 1e-3, "epochs": 1, "batch_size": 16}
    (ended,) = play(work("confirm", tmp_path, facts=facts, params=params, fresh_seed=1))
    assert len(ended.row_scores) == facts.validation_rows
    assert sum(ended.row_scores) / facts.validation_rows == pytest.approx(ended.metrics["validation_loss"], rel=1e-5)
    assert list(tmp_path.iterdir()) == []


def test_trial_evaluates_and_saves_the_model_that_is_wanted(
    play: Callable[..., list[Any]], facts: Facts, tmp_path: Path
) -> None:
    go_on, keep = messages.Answer(go_on=True), messages.Answer(go_on=True, keep_model=True)
    first, second, ended = play(trial(facts, tmp_path), go_on, keep)
    assert [first.final, second.final] == [False, True]
    assert ended == messages.Ended(model_saved=True)
    assert second.speed.seconds_per_epoch > 0
    assert (tmp_path / "model.safetensors").exists()
    (scored,) = play(work("score", tmp_path, facts=facts))
    assert scored.metrics["test_loss"] > 0


def test_each_trial_says_once_that_it_trains(pristine: Path, facts: Facts) -> None:
    go_on = messages.Answer(go_on=True)
    script = ScriptedChannel(trial(facts), go_on, go_on, trial(facts, number=1), go_on, go_on)
    engine = Engine(script, roots=[pristine], device=tiny.CPU)  # type: ignore[arg-type]
    hook = register_optimizer_step_post_hook(engine.note_step)
    with hook, pytest.raises(EOFError):
        engine.run()
    assert [event.kind for event in script.events] == ["hello", *2 * ["training", "evaluated", "evaluated", "ended"]]


def test_products_of_a_trial_come_from_the_faster_library_and_those_after_it_do_not(
    play: Callable[..., list[Any]], facts: Facts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text("vendor_id : AuthenticAMD\nflags : avx512f\n")
    monkeypatch.setattr("trainer.model.device.CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr("trainer.model.products.is_exact", lambda: True)
    seen = []
    with register_optimizer_step_post_hook(lambda *_: seen.append(come_from_onednn(tiny.CPU))):
        play(trial(facts), messages.Answer(go_on=True), messages.Answer(go_on=True))
    assert seen
    assert all(seen)
    assert not come_from_onednn(tiny.CPU)


def test_trial_says_how_long_it_has_filled_the_trunk_cache(pristine: Path, facts: Facts, tmp_path: Path) -> None:
    params = {"learning_rate": 1e-3, "epochs": 1, "batch_size": 16, "frozen_layers": 2}
    go_on = messages.Answer(go_on=True)
    script = ScriptedChannel(trial(facts, params=params), go_on, trial(facts, number=1, params=params), go_on)
    engine = Engine(script, roots=[pristine], device=tiny.CPU, cache=TrunkCache(tmp_path))  # type: ignore[arg-type]
    with register_optimizer_step_post_hook(engine.note_step), pytest.raises(EOFError):
        engine.run()
    first, second = (event for event in script.events if event.kind == "training")
    assert first.trunk_seconds > 0.0
    assert second.trunk_seconds == 0.0


def test_the_model_is_copied_between_two_trials_of_a_study_and_for_nothing_else(
    play: Callable[..., list[Any]], facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: set[int] = set()
    n_held = []

    def new_model(pretrained: Pretrained, **options: int) -> PreTrainedModel:
        n_held.append(len(held))
        held.clear()
        return make_model(pretrained, **options)

    make_model, prepare_anew = Pretrained.new_model, prepare
    monkeypatch.setattr(Pretrained, "new_model", new_model)
    monkeypatch.setattr(Pretrained, "copy_ahead", lambda pretrained: held.add(id(pretrained)))
    monkeypatch.setattr(Pretrained, "drop_copy", lambda pretrained: held.discard(id(pretrained)))
    monkeypatch.setattr(
        warm_studies, "prepare", lambda *args, **more: n_held.append(len(held)) or prepare_anew(*args, **more)
    )
    go_on, other = messages.Answer(go_on=True), "1" * 32
    play(
        *(trial(facts), go_on, go_on, trial(facts, number=1), go_on, go_on),
        *(trial(facts, study_id=other), go_on, go_on, probe(facts, study_id=other)),
    )
    assert n_held == [0, 0, 1, 0, 0, 0]  # preparing, two trials; preparing another study, a trial, a probe


def test_trial_that_cannot_be_copied_for_ahead_runs_all_the_same(
    play: Callable[..., list[Any]], facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pretrained, "copy_ahead", Broken(RuntimeError("DefaultCPUAllocator: can't allocate memory")))
    go_on = messages.Answer(go_on=True)
    *_, ended = play(trial(facts), go_on, go_on, trial(facts, number=1), go_on, go_on)
    assert ended.kind == "ended"


def test_stopped_trial_saves_nothing_and_the_next_one_runs(
    play: Callable[..., list[Any]], facts: Facts, tmp_path: Path
) -> None:
    go_on, stop = messages.Answer(go_on=True), messages.Answer(go_on=False, keep_model=True)
    events = play(trial(facts, tmp_path), stop, trial(facts, number=1), go_on, go_on)
    assert [event.kind for event in events] == ["evaluated", "ended", "evaluated", "evaluated", "ended"]
    assert list(tmp_path.iterdir()) == []


def test_paused_trial_is_saved_and_the_engine_goes_on_with_others_and_then_with_it(
    pristine: Path, facts: Facts, tmp_path: Path
) -> None:
    go_on, pause = messages.Answer(go_on=True), messages.Answer(go_on=True, pause=True)
    resumed = trial(facts, attempt=2, resume=Resume(attempt=1, step=1))
    script = ScriptedChannel(trial(facts), pause, trial(facts, number=1), go_on, go_on, resumed, pause)
    engine = Engine(script, roots=[pristine], device=tiny.CPU, checkpoint_dir=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(EOFError):
        engine.run()
    kinds = ["hello", "evaluated", "preempted", "evaluated", "evaluated", "ended", "evaluated", "ended"]
    assert [event.kind for event in script.events] == kinds  # the last evaluation ends the trial, whatever is asked
    assert script.events[6].final
    assert [path.parent.name for path in tmp_path.glob("*/0/*/at-*")] == ["1"]


def test_pause_without_a_folder_for_checkpoints_ends_the_trial_all_the_same(
    play: Callable[..., list[Any]], facts: Facts
) -> None:
    events = play(trial(facts), messages.Answer(go_on=True, pause=True))
    assert [event.kind for event in events] == ["evaluated", "preempted"]


def test_trial_evaluates_at_the_steps_of_its_assignment(play: Callable[..., list[Any]], facts: Facts) -> None:
    answer = messages.Answer(go_on=True)
    *evaluated, _ = play(trial(facts, evaluate_at=[2], params={"epochs": 3, "batch_size": 16}), answer, answer)
    assert [(event.step, event.final) for event in evaluated] == [(2, False), (3, True)]


@pytest.mark.parametrize(("last_step", "n_evaluations"), [(1, 1), (2, 2), (None, 2)])
def test_a_replay_has_the_numbers_of_its_trial_up_to_its_last_step(
    play: Callable[..., list[Any]], facts: Facts, tmp_path: Path, last_step: int | None, n_evaluations: int
) -> None:
    answer = messages.Answer(go_on=True)
    again = replay(facts, tmp_path, last_step=last_step)
    *evaluated, _, ended = play(trial(facts), answer, answer, again)
    found = [(one.step, one.value, one.metrics) for one in ended.replayed]
    assert found == [(one.step, one.value, one.metrics) for one in evaluated[:n_evaluations]]
    assert not ended.model_saved
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("in_short_memory", ["trial", "replay"])
def test_a_replay_in_another_memory_is_within_the_tolerance_of_its_trial(
    play: Callable[..., list[Any]], facts: Facts, monkeypatch: pytest.MonkeyPatch, in_short_memory: str
) -> None:
    answer = messages.Answer(go_on=True)
    runs = {"trial": (trial(facts), answer, answer), "replay": (replay(facts),)}
    found = {}
    for name, commands in runs.items():
        with monkeypatch.context() as patch:
            failed = fail_once(patch, trial_steps, "accumulate_gradients") if name == in_short_memory else []
            found[name] = play(*commands)  # each in an engine of its own, which knows nothing of the other's memory
            assert bool(failed) == (name == in_short_memory)
    *evaluated, _ = found["trial"]
    [ended] = found["replay"]
    for then, now in zip(evaluated, ended.replayed, strict=True):
        assert now.metrics == pytest.approx(then.metrics, rel=CLOSE)


def test_a_replay_that_fails_hands_in_what_it_has_measured_before(
    play: Callable[..., list[Any]], facts: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = trial_steps.TrialSteps.take

    def take(self: trial_steps.TrialSteps, *args: Any) -> torch.Tensor:
        taken.append(steps(self, *args))
        if len(taken) > n_first_epoch:
            raise Diverged("the training loss is nan")
        return taken[-1]

    taken: list[torch.Tensor] = []
    n_first_epoch = -(-facts.train_rows // 16)
    monkeypatch.setattr(trial_steps.TrialSteps, "take", take)
    failed, again = play(replay(facts), replay(facts))
    assert failed.failure.failure_class == "diverged"
    assert [one.step for one in failed.replayed] == [1]
    assert again.replayed == []  # it fails at its first step, and has nothing of the one before


def test_failed_assignment_says_why_and_the_next_one_runs(play: Callable[..., list[Any]], facts: Facts) -> None:
    bad = tiny.make_spec(data={"train": "nowhere.csv"})
    failed, prepared = play(work("prepare", spec=bad, study_id="0" * 32), work("prepare"))
    assert failed.failure.failure_class == "data_error"
    assert "nowhere.csv" in failed.failure.message
    assert prepared.facts == facts


class Broken:
    """Stands for what a device cannot do."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, *_args: object, **_options: object) -> torch.Tensor:
        raise self._error


@pytest.mark.parametrize(
    ("error", "failure_class"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "out_of_memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "out_of_memory"),
        (RuntimeError("MPS backend out of memory"), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "host_out_of_memory"),
        (RuntimeError("CUDA error: device-side assert triggered"), "device_error"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (ZeroDivisionError("a bug"), "exception"),
    ],
)
def test_what_breaks_in_a_step_ends_the_trial_in_its_class(
    play: Callable[..., list[Any]],
    facts: Facts,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    failure_class: str,
) -> None:
    monkeypatch.setattr(trial_steps, "accumulate_gradients", Broken(error))
    (failed,) = play(trial(facts))
    assert failed.failure.failure_class == failure_class
    assert str(error) in failed.failure.message
