"""Interrupted trials: what is saved, what counts as whole, and that going on gives the same numbers."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from spezia.contract.assignments import Resume
from tests.power_cut import PowerCut
from tests.trainer.conftest import Prepare
from trainer.errors import CheckpointLost
from trainer.model.best_model import BestModel
from trainer.train.checkpoint import Checkpoints, Preempted
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.pause_costs import PauseCosts
from trainer.train.prepare import Prepared
from trainer.trial import checkpoint_folder
from trainer.trial.checkpoint_folder import MARKER, STATE, CheckpointFolder
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

STUDY = "f" * 32
PARAMS = {"learning_rate": 3e-3, "epochs": 3, "batch_size": 10, "dropout": 0.2, "lr_schedule": "cosine"}


def checkpoints(root: Path, **changes: Any) -> Checkpoints:
    fields: dict[str, Any] = {
        "folder": CheckpointFolder(root),
        "study_id": STUDY,
        "number": 4,
        "attempt": 1,
        "versions": {"torch": torch.__version__},
        "resume": None,
        "is_stop_wanted": lambda: False,
    }
    return Checkpoints(**(fields | changes))


def after(n_looks: int) -> Callable[[], bool]:
    """Wants a stop at the look of this number, counted from 1: before the optimizer step of the same number."""
    looks = iter(range(1, 10**6))
    return lambda: next(looks) >= n_looks


def run(
    prepared: Prepared,
    best: BestModel,
    kept: Checkpoints | None,
    cache: TrunkCache | None = None,
    *,
    pause_after: int | None = None,
    evaluate_at: list[int] | None = None,
    partial_at: dict[int, float] | None = None,
    **params: Any,
) -> list[Evaluation]:
    """The evaluations of a trial until it ends, is preempted, or is paused after so many evaluations."""
    evaluations: list[Evaluation] = []
    config = TrialConfig.from_params(PARAMS | params)
    if kept is not None:
        kept = replace(kept, is_pause_wanted=lambda: len(evaluations) == pause_after)
    try:
        for evaluation in fine_tune(
            prepared,
            config,
            seed=7,
            number=4,
            best=best,
            evaluate_at=evaluate_at,
            partial_at=partial_at or {},
            checkpoints=kept,
            cache=cache,
        ):
            evaluations.append(evaluation)
            torch.rand(3)
    except Preempted:
        assert kept is not None
    return evaluations


@pytest.mark.parametrize("stop_at", [2, 4, 10, 11, 14, 30])
def test_resumed_trial_ends_with_the_numbers_of_an_uninterrupted_one(
    prepare_study: Prepare, tmp_path: Path, stop_at: int
) -> None:
    prepared = prepare_study(training={"evaluations_per_epoch": 3, "early_stopping_patience": 6})
    whole, first, second = BestModel(), BestModel(), BestModel()
    uninterrupted = run(prepared, whole, None, frozen_layers=1)
    before = run(prepared, first, checkpoints(tmp_path, is_stop_wanted=after(stop_at)), frozen_layers=1)
    (held,) = CheckpointFolder(tmp_path).held({"torch": torch.__version__})
    assert (held.study_id, held.number, held.attempt, held.step) == (STUDY, 4, 1, len(before))
    resume = Resume(attempt=1, step=held.step)
    rest = run(prepared, second, checkpoints(tmp_path, attempt=2, resume=resume), frozen_layers=1)
    assert 0 < len(rest) < len(uninterrupted) or before == []
    assert before + rest == uninterrupted
    for best, name in ((whole, "whole"), (second, "second")):
        best.save(tmp_path / name)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "second")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    "params",
    [
        {"method": "lora", "lora_rank": 4, "lora_dropout": 0.1},
        {"method": "head_only"},
        {"unfreeze": "gradual"},
        {"layer_lr_decay": 0.8, "gradient_checkpointing": True},
    ],
    ids=["lora", "head_only", "gradual", "layer_lr_decay"],
)
@pytest.mark.parametrize(
    "end", [{"stop_at": 17}, {"pause_after": 1}], ids=["stopped between two evaluations", "paused"]
)
def test_every_method_resumes(prepared: Prepared, tmp_path: Path, params: dict[str, Any], end: dict[str, int]) -> None:
    uninterrupted = run(prepared, BestModel(), None, **params)
    kept = checkpoints(tmp_path, is_stop_wanted=after(end.get("stop_at", 10**6)))
    before = run(prepared, BestModel(), kept, pause_after=end.get("pause_after"), **params)
    assert len(before) == 1
    resume = Resume(attempt=1, step=1)
    rest = run(prepared, BestModel(), checkpoints(tmp_path, attempt=2, resume=resume), **params)
    assert before + rest == uninterrupted


@pytest.mark.parametrize("stop_at", [4, 17])
@pytest.mark.parametrize("moves", [False, True], ids=["same machine", "a machine without entries"])
def test_trial_on_the_trunk_cache_resumes(prepared: Prepared, tmp_path: Path, stop_at: int, moves: bool) -> None:
    first, second = (TrunkCache(tmp_path / name, 2**24) for name in ("first", "second"))
    params: dict[str, Any] = {"frozen_layers": 2, "partial_at": {1: 0.5}}
    plain = run(prepared, BestModel(), None, **params)
    uninterrupted = run(prepared, BestModel(), None, first, **params)
    kept = checkpoints(tmp_path / "kept", is_stop_wanted=after(stop_at))
    before = run(prepared, BestModel(), kept, first, **params)
    resumed = checkpoints(tmp_path / "kept", attempt=2, resume=Resume(attempt=1, step=len(before)))
    rest = run(prepared, BestModel(), resumed, second if moves else first, **params)
    assert len(list((tmp_path / "second").glob("*.trunk"))) == (2 if moves else 0)  # the cache was used
    assert before + rest == uninterrupted
    assert is_counted_on(before, rest)
    losses = [[one.metrics["validation_loss"] for one in of_run] for of_run in (before + rest, plain)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def is_counted_on(before: list[Evaluation], rest: list[Evaluation]) -> bool:
    """Whether what the cache has saved goes on from where it was: rows are only ever added."""
    saved = [one.speed.trunk_seconds for one in (*before, *rest) if one.speed and one.speed.trunk_seconds is not None]
    return len(saved) == len(before) + len(rest) and (not before or saved[-1] > saved[len(before) - 1])


def test_trial_paused_at_rungs_ends_with_the_model_and_the_numbers_of_an_uninterrupted_one(
    prepare_study: Prepare, tmp_path: Path
) -> None:
    prepared = prepare_study(training={"evaluations_per_epoch": 4, "early_stopping_patience": 12})
    evaluate_at = [1, 3, 4, 9, 12]
    params: dict[str, Any] = {"evaluate_at": evaluate_at, "learning_rate": 1e-2, "lr_schedule": "constant"}
    params["partial_at"] = {1: 0.3}  # so the first pause has no best model yet
    whole, last = BestModel(), BestModel()
    uninterrupted = run(prepared, whole, None, **params)
    resume, paused = None, []
    for attempt in (1, 2, 3, 4, 5):
        kept = checkpoints(tmp_path / "kept", attempt=attempt, resume=resume)
        last = BestModel()
        paused += run(prepared, last, kept, pause_after=1, **params)
        if not paused[-1].final:
            (held,) = kept.folder.held(kept.versions)
            assert (held.attempt, held.step) == (attempt, evaluate_at[attempt - 1])
            resume = Resume(attempt=attempt, step=held.step)
    assert [one.step for one in uninterrupted] == evaluate_at
    values = [one.value for one in uninterrupted]
    assert values.index(min(values)) == 1  # from then on the best model is an earlier one
    assert paused == uninterrupted
    whole.save(tmp_path / "whole")
    last.save(tmp_path / "last")
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "last")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_evaluations_that_are_left_out_change_no_other_number(prepare_study: Prepare) -> None:
    prepared = prepare_study(training={"evaluations_per_epoch": 4, "early_stopping_patience": None})
    every = run(prepared, BestModel(), None)
    some = run(prepared, BestModel(), None, evaluate_at=[2, 5])
    assert [one.step for one in some] == [2, 5, 12]  # the last one is always made
    assert [one.final for one in some] == [False, False, True]
    assert [one.metrics["validation_loss"] for one in some] == [
        every[n - 1].metrics["validation_loss"] for n in (2, 5, 12)
    ]
    assert [one.epoch for one in some] == [0.5, 1.2, 3.0]
    losses = [one.metrics["train_loss"] for one in every]
    assert some[0].metrics["train_loss"] == pytest.approx((2 * losses[0] + 3 * losses[1]) / 5)


def test_a_pause_is_saved_only_where_training_again_takes_longer(prepared: Prepared, tmp_path: Path) -> None:
    costs = PauseCosts()
    first = checkpoints(tmp_path, costs=costs)
    run(prepared, BestModel(), first, pause_after=1)  # is written to see what it takes
    (held,) = first.folder.held(first.versions)
    marker = checkpoint_folder.newest(first.folder.of_attempt(STUDY, 4, 1))
    assert marker is not None
    assert 0 < costs.seconds(marker[1].size_bytes) < 10
    costs.note_saved(marker[1].size_bytes, 1e6)
    second = checkpoints(tmp_path, attempt=2, resume=Resume(attempt=1, step=1), costs=costs)
    run(prepared, BestModel(), second, pause_after=1)
    assert second.folder.held(second.versions) == [held]  # from where it would be trained again
    run(prepared, BestModel(), replace(second, is_stop_wanted=after(3)))
    (later,) = second.folder.held(second.versions)
    assert later != held  # one that is interrupted is saved whatever it takes
    for size in (2**n for n in range(30)):
        costs.note_saved(size, 1e6)
    third = replace(second, attempt=3, resume=Resume(attempt=later.attempt, step=later.step))
    run(prepared, BestModel(), third, pause_after=1)
    left = checkpoint_folder.newest(third.folder.of_attempt(STUDY, 4, later.attempt))
    assert left is not None
    assert left[1].is_paused  # so that it makes room


def test_weights_that_are_the_best_so_far_are_written_once(prepared: Prepared, tmp_path: Path) -> None:
    sizes = []
    for name, stop_at in (("paused", 10**6), ("one step later", 12)):
        kept = checkpoints(tmp_path / name, is_stop_wanted=after(stop_at))
        run(prepared, BestModel(), kept, pause_after=1 if name == "paused" else None)
        found = checkpoint_folder.newest(kept.folder.of_attempt(STUDY, 4, 1))
        assert found is not None
        contents = torch.load(found[0] / STATE, weights_only=True)
        is_same = [torch.equal(contents["model"][weight], contents["best"][weight]) for weight in contents["best"]]
        assert all(is_same) == (name == "paused")
        sizes.append(found[1].size_bytes)
    assert sizes[0] < 0.8 * sizes[1]


def test_trial_may_be_interrupted_twice(prepared: Prepared, tmp_path: Path) -> None:
    uninterrupted = run(prepared, BestModel(), None)
    first = run(prepared, BestModel(), checkpoints(tmp_path, is_stop_wanted=after(13)))
    resume = Resume(attempt=1, step=len(first))
    second = run(prepared, BestModel(), checkpoints(tmp_path, attempt=2, resume=resume, is_stop_wanted=after(5)))
    resume = Resume(attempt=2, step=len(first) + len(second))
    third = run(prepared, BestModel(), checkpoints(tmp_path, attempt=3, resume=resume))
    assert first + second + third == uninterrupted
    assert [len(first), len(second), len(third)] == [1, 0, 2]


def test_trial_that_made_no_step_leaves_no_checkpoint(prepared: Prepared, tmp_path: Path) -> None:
    assert run(prepared, BestModel(), checkpoints(tmp_path, is_stop_wanted=lambda: True)) == []
    assert CheckpointFolder(tmp_path).held({"torch": torch.__version__}) == []


def test_every_so_often_an_evaluation_is_followed_by_a_checkpoint(prepared: Prepared, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    steps = []
    kept = checkpoints(tmp_path, every_seconds=0.0)
    for _ in fine_tune(prepared, TrialConfig.from_params(PARAMS), seed=7, number=4, best=BestModel(), checkpoints=kept):
        steps.append([held.step for held in folder.held(kept.versions)])
    assert steps == [[], [1], [2]]  # written once the answer to the evaluation is known; one at a time
    seldom = checkpoints(tmp_path / "seldom")
    run(prepared, BestModel(), seldom)
    assert not (tmp_path / "seldom").exists()


def test_f34_a_power_cut_leaves_the_trial_its_last_checkpoint(prepared: Prepared, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    kept = checkpoints(disk / "checkpoints", every_seconds=0.0)
    left = []
    with PowerCut.of(disk) as power_cut:
        for _ in fine_tune(
            prepared, TrialConfig.from_params(PARAMS), seed=7, number=4, best=BestModel(), checkpoints=kept
        ):
            for cut in (power_cut.least, power_cut.most):
                folder = CheckpointFolder(cut(tmp_path / str(len(left))) / "checkpoints")
                left.append([held.step for held in folder.held(kept.versions)])
    assert left == [[], [], [1], [1], [2], [2]]


def interrupted(prepared: Prepared, root: Path) -> Path:
    """A checkpoint of step 1."""
    run(prepared, BestModel(), checkpoints(root, is_stop_wanted=after(13)))
    found = checkpoint_folder.newest(CheckpointFolder(root).of_attempt(STUDY, 4, 1))
    assert found is not None
    return found[0]


@pytest.mark.parametrize("damage", ["no marker", "half a marker", "short state", "not renamed"])
def test_truncated_checkpoint_does_not_count(prepared: Prepared, tmp_path: Path, damage: str) -> None:
    folder = interrupted(prepared, tmp_path)
    versions = {"torch": torch.__version__}
    assert len(CheckpointFolder(tmp_path).held(versions)) == 1
    if damage == "no marker":
        (folder / MARKER).unlink()
    elif damage == "half a marker":
        (folder / MARKER).write_bytes((folder / MARKER).read_bytes()[:20])
    elif damage == "short state":
        os.truncate(folder / STATE, (folder / STATE).stat().st_size - 1)
    else:
        folder.rename(folder.parent / ".0123")
    assert CheckpointFolder(tmp_path).held(versions) == []
    with pytest.raises(CheckpointLost, match="no checkpoint of step 1"):
        run(prepared, BestModel(), checkpoints(tmp_path, attempt=2, resume=Resume(attempt=1, step=1)))


def test_state_that_cannot_be_read_is_lost_and_not_a_bug(prepared: Prepared, tmp_path: Path) -> None:
    folder = interrupted(prepared, tmp_path)
    (folder / STATE).write_bytes(bytes((folder / STATE).stat().st_size))
    with pytest.raises(CheckpointLost, match="is damaged"):
        run(prepared, BestModel(), checkpoints(tmp_path, attempt=2, resume=Resume(attempt=1, step=1)))


def test_state_with_a_flipped_bit_is_lost(prepared: Prepared, tmp_path: Path) -> None:
    state = interrupted(prepared, tmp_path) / STATE
    content = state.read_bytes()
    for place in (0.1, 0.5, 0.9):
        damaged = bytearray(content)
        damaged[int(place * len(content))] ^= 1
        state.write_bytes(damaged)
        with pytest.raises(CheckpointLost, match="is damaged"):
            run(prepared, BestModel(), checkpoints(tmp_path, attempt=2, resume=Resume(attempt=1, step=1)))


def test_other_software_does_not_go_on(prepared: Prepared, tmp_path: Path) -> None:
    interrupted(prepared, tmp_path)
    assert CheckpointFolder(tmp_path).held({"torch": "0.1"}) == []


def test_failed_write_leaves_the_checkpoint_before(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupted(prepared, tmp_path)

    def fill(contents: object, file: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(OSError, match="No space left"):
        run(
            prepared,
            BestModel(),
            checkpoints(tmp_path, attempt=2, resume=Resume(attempt=1, step=1), is_stop_wanted=after(3)),
        )
    assert list(tmp_path.glob("*/*/*/*")) == [folder]


def test_new_checkpoint_replaces_those_of_earlier_attempts(prepared: Prepared, tmp_path: Path) -> None:
    interrupted(prepared, tmp_path)
    kept = checkpoints(tmp_path, attempt=2, resume=Resume(attempt=1, step=1), is_stop_wanted=after(3))
    run(prepared, BestModel(), kept)
    assert [path.parent.name for path in tmp_path.glob("*/*/*/*")] == ["2"]


def test_ended_and_forgotten_trials_leave_nothing(prepared: Prepared, tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    interrupted(prepared, tmp_path)
    shutil.copytree(tmp_path / STUDY / "4", tmp_path / STUDY / "5")
    folder.forget(STUDY, 4)
    assert [path.name for path in tmp_path.glob("*/*")] == ["5"]
    written_at = (tmp_path / STUDY / "5").stat().st_mtime
    folder.tidy(now=written_at + 6 * 24 * 3600)
    assert list(tmp_path.glob("*/*"))
    folder.tidy(now=written_at + 8 * 24 * 3600)
    assert not list(tmp_path.glob("*/*"))


def test_checkpoint_holds_what_trains_and_nothing_frozen(prepared: Prepared, tmp_path: Path) -> None:
    kept = checkpoints(tmp_path, is_stop_wanted=after(13))
    run(prepared, BestModel(), kept, frozen_layers=2)
    found = checkpoint_folder.newest(kept.folder.of_attempt(STUDY, 4, 1))
    assert found is not None
    saved = torch.load(found[0] / STATE, weights_only=True)
    names = set(saved["model"])
    assert any("layer.2." in name for name in names)
    assert not any("layer.0." in name or "embeddings.word" in name for name in names)
    assert saved["losses"].shape == (2,)  # one tensor: of 20,000 by themselves each costs a file in the archive
    assert replace(kept, number=5).number == 5
