"""The frozen-trunk cache in a trial: the same losses, less work, and never a failed trial."""

import gc
import json
import logging
import os
import weakref
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from spezia.contract.outcomes import TrialSpeed
from tests.trainer import tiny
from tests.trainer.architectures import save_model
from tests.trainer.conftest import Prepare
from tests.trainer.short_memory import fail_once
from tests.trainer.task_cases import CASES, TaskCase
from trainer.model.best_model import BestModel
from trainer.model.device import scoring_tokens
from trainer.model.dropout import set_dropout
from trainer.model.freeze import find_blocks
from trainer.train.evaluate import evaluate
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig
from trainer.trunk import open_trunk as module
from trainer.trunk.cache import TrunkCache
from trainer.trunk.entry import HEADER_BYTES, open_entry, write_entry
from trainer.trunk.open_trunk import open_trunk

BUDGET = 2**24


@pytest.fixture
def cache(tmp_path: Path) -> TrunkCache:
    return TrunkCache(tmp_path / "cache", BUDGET)


def losses(prepared: Prepared, cache: TrunkCache | None, **params: Any) -> list[float]:
    config = TrialConfig.from_params({"learning_rate": 3e-3, "epochs": 2} | params)
    trial = fine_tune(prepared, config, seed=0, number=0, best=BestModel(), cache=cache)
    return [e.metrics[name] for e in trial for name in ("validation_loss", "train_loss")]


def cached_rows(prepared: Prepared, cache: TrunkCache | None, **params: Any) -> float | None:
    """How many rows a trial of two epochs says to have read from the cache; ``None``: it says nothing."""
    config = TrialConfig.from_params({"learning_rate": 3e-3, "epochs": 2} | params)
    *_, last = fine_tune(prepared, config, seed=0, number=0, best=BestModel(), cache=cache)
    return last.metrics.get("cached_rows")


def all_rows(prepared: Prepared, epochs: int = 2) -> int:
    """How many rows a trial trains and validates on."""
    return epochs * (len(prepared.train) + len(prepared.validation))


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*.trunk"))


def contents(file: Path) -> bytes:
    """What is in a file behind its header, which says among other things how long making it took."""
    return file.read_bytes()[HEADER_BYTES:]


def speed_of(prepared: Prepared, cache: TrunkCache | None, **params: Any) -> TrialSpeed:
    """What a trial of two epochs has measured in the end."""
    config = TrialConfig.from_params({"learning_rate": 3e-3, "epochs": 2} | params)
    *_, last = fine_tune(prepared, config, seed=0, number=0, best=BestModel(), cache=cache)
    assert last.speed is not None
    return last.speed


class Frozen:
    """A model with its first blocks frozen, how often they have been computed, and for how many rows."""

    def __init__(self, prepared: Prepared, depth: int) -> None:
        self.prepared = prepared
        self.depth = depth
        self.model = prepared.pretrained.new_model(seed=0, number=0).eval()
        blocks = find_blocks(self.model)
        assert blocks is not None
        below = {id(parameter) for block in blocks[depth:] for parameter in block.parameters()}
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(id(parameter) in below or name in prepared.pretrained.missing)
        self.blocks = blocks
        self.n_computed = self.n_rows = 0
        # inside the block: a hook on the block itself would count its stand-in, too
        inside = next(module for module in blocks[0].modules() if isinstance(module, nn.Linear | Conv1D))
        self.hook = inside.register_forward_hook(self._count)

    def _count(self, _module: nn.Module, args: tuple[torch.Tensor], *_: object) -> None:
        self.n_computed += 1
        self.n_rows += len(args[0])

    def open(self, cache: TrunkCache) -> Prepared:
        splits = self.prepared.train, self.prepared.validation
        train, validation, _ = open_trunk(cache, self.model, self.depth, splits, self.prepared.facts)
        return replace(self.prepared, train=train, validation=validation)

    def loss(self, prepared: Prepared) -> float:
        return evaluate(self.model, prepared.task, prepared.validation, prepared.facts.precision)["loss"]


def prepare_family(directory: Path, pristine: Path, family: str) -> Prepared:
    tiny.save_family(directory / "family", family, AutoModel)
    spec = tiny.make_spec(model={"name": "family"})
    return prepare(spec, roots=[directory, pristine], device=tiny.CPU)


def prepare_architecture(directory: Path, pristine: Path, architecture: str) -> Prepared:
    save_model(directory / architecture, architecture)
    return prepare(tiny.make_spec(model={"name": architecture}), roots=[directory, pristine], device=tiny.CPU)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("family", [*tiny.ENCODERS, *tiny.DECODERS])
def test_every_architecture_is_fed_and_gives_the_same_loss(
    pristine: Path, tmp_path: Path, cache: TrunkCache, family: str, depth: int
) -> None:
    frozen = Frozen(prepare_family(tmp_path, pristine, family), depth)
    plain = frozen.loss(frozen.prepared)
    fed = frozen.open(cache)
    assert fed.train is not frozen.prepared.train
    frozen.n_computed = 0
    assert frozen.loss(fed) == pytest.approx(plain, abs=1e-5)
    assert frozen.n_computed == 0


@pytest.mark.slow
def test_memory_that_is_short_on_the_way_fails_no_trial(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = losses(prepared, None, frozen_layers=2, epochs=1)
    for n_before in count():
        cache = TrunkCache(tmp_path / str(n_before), BUDGET)
        with monkeypatch.context() as patch:
            failed = fail_once(patch, module, "forward", n_before)
            assert losses(prepared, cache, frozen_layers=2, epochs=1) == pytest.approx(plain, abs=1e-5)
        if not failed:
            break
    assert n_before > 8  # the passes of opening


def test_a_model_that_pads_by_itself_is_fed(pristine: Path, tmp_path: Path, cache: TrunkCache) -> None:
    prepared = prepare_architecture(tmp_path, pristine, "longformer")
    plain = losses(prepared, None, frozen_layers=1)
    assert losses(prepared, cache, frozen_layers=1) == pytest.approx(plain, abs=1e-5)
    assert cached_rows(prepared, cache, frozen_layers=1) == all_rows(prepared)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_task_is_fed_and_gives_the_same_losses(case: TaskCase, tmp_path: Path, cache: TrunkCache) -> None:
    case.write(tmp_path)
    prepared = prepare(tiny.make_spec(**case.spec()), roots=[tmp_path], device=tiny.CPU)
    plain = losses(prepared, None, frozen_layers=2, epochs=1)
    assert losses(prepared, cache, frozen_layers=2, epochs=1) == pytest.approx(plain, abs=1e-5)
    assert len(entries(tmp_path)) == 2
    assert cached_rows(prepared, cache, frozen_layers=2, epochs=1) == all_rows(prepared, epochs=1)


@pytest.mark.parametrize(
    "params",
    [
        {"frozen_layers": 1, "dropout": 0.3},
        {"frozen_layers": 3},
        {"frozen_layers": 1, "unfreeze": "gradual"},
        {"frozen_layers": 2, "method": "lora"},
        {"method": "head_only"},
        {"frozen_layers": 2, "gradient_checkpointing": True},
    ],
)
def test_cache_on_and_off_give_the_same_losses(
    prepared: Prepared, cache: TrunkCache, tmp_path: Path, params: dict[str, Any]
) -> None:
    plain = losses(prepared, None, **params)
    assert losses(prepared, cache, **params) == pytest.approx(plain, abs=1e-5)
    assert len(entries(tmp_path)) == 2
    assert losses(prepared, cache, **params) == pytest.approx(plain, abs=1e-5)
    assert cached_rows(prepared, cache, **params) == all_rows(prepared)


def test_what_the_cache_saves_is_what_the_rows_took_when_they_were_computed(
    prepared: Prepared, cache: TrunkCache
) -> None:
    first, second = (speed_of(prepared, cache, frozen_layers=2).trunk_seconds for _ in range(2))
    opened = Frozen(prepared, 2).open(cache)
    of_an_epoch = sum(len(split) * split.entry.seconds_per_row for split in (opened.train, opened.validation))  # type: ignore[attr-defined]
    assert of_an_epoch > 0
    assert second == pytest.approx(2 * of_an_epoch)  # two epochs read all rows
    assert first == pytest.approx(of_an_epoch)  # it has computed them once
    assert speed_of(prepared, None, frozen_layers=2).trunk_seconds is None
    assert speed_of(prepared, cache).trunk_seconds is None


def test_entries_of_before_do_not_say_what_they_save(prepared: Prepared, cache: TrunkCache, tmp_path: Path) -> None:
    plain = losses(prepared, cache, frozen_layers=2)
    gc.collect()
    for file in entries(tmp_path):
        header = json.loads(file.read_bytes()[:HEADER_BYTES])
        del header["seconds"]
        file.write_bytes(json.dumps(header).encode().ljust(HEADER_BYTES) + contents(file))
    assert speed_of(prepared, cache, frozen_layers=2).trunk_seconds is None
    assert losses(prepared, cache, frozen_layers=2) == plain


def test_nothing_is_cached_where_nothing_is_frozen(prepared: Prepared, cache: TrunkCache, tmp_path: Path) -> None:
    assert losses(prepared, cache) == losses(prepared, None)
    assert cached_rows(prepared, cache) is None
    assert not entries(tmp_path)


def test_frozen_blocks_are_computed_once_for_all_trials(prepared: Prepared, cache: TrunkCache) -> None:
    first, second = Frozen(prepared, 2), Frozen(prepared, 2)
    first.open(cache)
    n_tokens = int(prepared.train.lengths_N.sum())
    assert n_tokens > scoring_tokens(tiny.CPU)  # more than the few rows of the checks
    second.open(cache)
    assert second.n_computed <= 10 < first.n_computed + 10
    fed = second.open(cache)
    second.n_computed = 0
    losses(fed, None, frozen_layers=2)
    assert second.n_computed == 0


@pytest.mark.parametrize("family", [*tiny.ENCODERS, *tiny.DECODERS])
def test_more_frozen_blocks_begin_with_what_fewer_put_out_to_the_last_bit(
    family: str, pristine: Path, tmp_path: Path, cache: TrunkCache
) -> None:
    prepared = prepare_family(tmp_path, pristine, family)
    fewer, more, anew = (Frozen(prepared, depth) for depth in (1, 3, 3))
    of_fewer = fewer.open(cache)
    before = entries(tmp_path)
    of_more = more.open(cache)
    anew.open(TrunkCache(tmp_path / "empty", BUDGET))
    n_rows = len(prepared.train) + len(prepared.validation)
    assert more.n_rows <= 20 < n_rows < anew.n_rows  # the rows of the checks alone
    made = {file.name: contents(file) for file in entries(tmp_path) if file not in before}
    assert made == {file.name: contents(file) for file in (tmp_path / "empty").glob("*.trunk")}
    # what it saves is what all blocks take, what this process has spent is less
    below, entry = of_fewer.train.entry, of_more.train.entry  # type: ignore[union-attr]
    assert entry.seconds_per_row - below.seconds_per_row == pytest.approx(entry.seconds_spent / len(prepared.train))


def test_a_trial_is_not_fed_what_began_with_something_else(
    prepared: Prepared, cache: TrunkCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Frozen(prepared, 1).open(cache)
    gc.collect()
    for file in entries(tmp_path):
        with file.open("r+b") as opened:
            rewrite_otherwise(opened)
    more = Frozen(prepared, 2)
    assert more.open(TrunkCache(tmp_path / "cache", BUDGET)).train is prepared.train
    assert "the outputs of this model differ" in caplog.text


def test_entries_in_bf16_are_not_begun_from(prepared: Prepared, cache: TrunkCache) -> None:
    prepared = replace(prepared, facts=prepared.facts.model_copy(update={"precision": "bf16"}))
    Frozen(prepared, 1).open(cache)
    more = Frozen(prepared, 2)
    more.open(cache)
    assert more.n_rows > len(prepared.train) + len(prepared.validation)


def rewrite_otherwise(file: IO[bytes]) -> None:
    """Change all numbers of an entry, and its checksum with them."""
    entry = open_entry(file)
    rows = [(row, entry.row(row) * np.float32(1.1)) for row in range(len(entry.places_N2))]
    write_entry(file, len(rows), rows)


@pytest.mark.parametrize("process", ["this", "another"])
def test_what_was_shown_of_a_make_of_models_is_not_computed_again(
    prepared: Prepared, cache: TrunkCache, tmp_path: Path, process: str
) -> None:
    plain = Frozen(prepared, 2).loss(prepared)
    Frozen(prepared, 2).open(cache)
    same = Frozen(prepared, 2)
    fed = same.open(cache if process == "this" else TrunkCache(tmp_path / "cache", BUDGET))
    assert same.n_computed == 0
    assert same.loss(fed) == pytest.approx(plain, abs=1e-5)
    assert same.n_computed == 0


@pytest.mark.parametrize("what", ["checks", "file", "proof"])
def test_another_process_shows_anew_what_it_cannot_rely_on(
    prepared: Prepared, cache: TrunkCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    Frozen(prepared, 2).open(cache)
    if what == "checks":
        monkeypatch.setattr(module, "_CHECKS", 0)
    elif what == "file":
        os.utime(entries(tmp_path)[0], (0, 0))
    else:
        (proof,) = (tmp_path / "cache").glob("*.proof")
        proof.write_bytes(proof.read_bytes()[:-1])
    other = Frozen(prepared, 2)
    assert other.open(TrunkCache(tmp_path / "cache", BUDGET)).train is not prepared.train
    assert other.n_computed > 0


@pytest.mark.parametrize("what", ["dropout", "freezing", "head", "file"])
def test_what_makes_a_difference_is_shown_anew(
    prepared: Prepared, cache: TrunkCache, tmp_path: Path, what: str
) -> None:
    Frozen(prepared, 2).open(cache)
    other = Frozen(prepared, 2)
    if what == "dropout":
        set_dropout(other.model, 0.0)
    elif what == "freezing":
        next(other.blocks[2].parameters()).requires_grad_(False)
    elif what == "head":
        other.model.classifier = Looks(other.model)
    else:
        gc.collect()
        _flip(entries(tmp_path)[0])
    fed = other.open(cache)
    assert other.n_computed > 0
    assert (fed.train is prepared.train) == (what == "head")


def test_what_is_read_is_what_trains(prepared: Prepared, cache: TrunkCache) -> None:
    """Scrambled hidden states change the loss: the cache is really read."""
    frozen = Frozen(prepared, 2)
    plain = frozen.loss(prepared)
    fed = frozen.open(cache)
    entry = fed.validation.entry  # type: ignore[attr-defined]
    scrambled = replace(entry, hidden_SD=np.zeros_like(entry.hidden_SD))
    assert abs(frozen.loss(replace(fed, validation=replace(fed.validation, entry=scrambled))) - plain) > 1e-3  # type: ignore[type-var]


def test_a_trunk_is_made_in_what_memory_there_is(prepared: Prepared, cache: TrunkCache) -> None:
    frozen = Frozen(prepared, 2)
    plain = frozen.loss(prepared)
    small_device = tiny.SmallDevice(frozen.model, rows=8)
    fed = frozen.open(cache)
    assert fed.train is not prepared.train
    assert small_device.n_refused > 0
    small_device.remove()
    assert frozen.loss(fed) == pytest.approx(plain, abs=1e-5)


def test_some_rows_of_a_fed_split_are_fed(prepared: Prepared, cache: TrunkCache) -> None:
    frozen = Frozen(prepared, 3)
    rows = [7, 3, 20]
    plain = frozen.loss(replace(prepared, validation=prepared.validation.take(rows)))
    fed = frozen.open(cache)
    frozen.n_computed = 0
    assert frozen.loss(replace(fed, validation=fed.validation.take(rows))) == pytest.approx(plain, abs=1e-5)
    assert frozen.n_computed == 0


def test_rows_that_are_not_cached_run_through_the_blocks(prepared: Prepared, cache: TrunkCache) -> None:
    frozen = Frozen(prepared, 3)
    assert prepared.test is not None
    plain = evaluate(frozen.model, prepared.task, prepared.test, "fp32")
    fed = frozen.open(cache)
    assert fed.test is not None
    assert evaluate(frozen.model, fed.task, fed.test, "fp32") == plain


def test_entries_are_told_apart_by_depth_and_rows_and_not_by_labels(
    prepared: Prepared, prepare_study: Prepare, cache: TrunkCache, tmp_path: Path
) -> None:
    Frozen(prepared, 1).open(cache)
    relabelled = replace(prepared.train, targets=np.zeros_like(prepared.train.targets))  # type: ignore[type-var]
    Frozen(replace(prepared, train=relabelled), 1).open(cache)
    assert len(entries(tmp_path)) == 2
    Frozen(prepared, 2).open(cache)
    assert len(entries(tmp_path)) == 4
    Frozen(prepare_study(data={"max_length": 8}), 1).open(cache)
    assert len(entries(tmp_path)) == 6


def test_other_weights_are_another_entry(
    prepared: Prepared, cache: TrunkCache, tmp_path: Path, prepare_study: Prepare
) -> None:
    Frozen(prepared, 1).open(cache)
    Frozen(prepare_study(model={"name": "classifier"}), 1).open(cache)
    assert len(entries(tmp_path)) == 4


def test_bf16_is_kept_in_bf16_within_its_tolerance(prepared: Prepared, cache: TrunkCache, tmp_path: Path) -> None:
    in_bf16 = replace(prepared, facts=prepared.facts.model_copy(update={"precision": "bf16"}))
    Frozen(prepared, 2).open(cache)
    full = {file: file.stat().st_size for file in entries(tmp_path)}
    frozen = Frozen(in_bf16, 2)
    plain = frozen.loss(in_bf16)
    fed = frozen.open(cache)
    assert fed is not in_bf16
    half = [file.stat().st_size for file in entries(tmp_path) if file not in full]
    assert sum(half) < 0.6 * sum(full.values())
    assert frozen.loss(fed) == pytest.approx(plain, abs=module.TOLERANCES["bf16"])


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        _flip,
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"{" * 600),
    ],
    ids=["a bit", "its end", "everything", "its header"],
)
def test_a_damaged_entry_is_made_again(
    prepared: Prepared,
    cache: TrunkCache,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    plain = losses(prepared, cache, frozen_layers=2)
    gc.collect()
    whole = [contents(file) for file in entries(tmp_path)]
    for file in entries(tmp_path):
        damage(file)
    assert losses(prepared, cache, frozen_layers=2) == plain
    assert [contents(file) for file in entries(tmp_path)] == whole
    assert "is damaged" in caplog.text


@pytest.mark.parametrize(
    "make_cache",
    [
        lambda folder: TrunkCache(folder, 100),
        lambda folder: TrunkCache(folder / "file" / "cache", BUDGET),
    ],
    ids=["no budget", "no folder"],
)
def test_without_room_a_trial_goes_on_and_its_log_says_so(
    prepared: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture, make_cache: Callable[[Path], TrunkCache]
) -> None:
    (tmp_path / "file").touch()
    assert losses(prepared, make_cache(tmp_path), frozen_layers=2) == losses(prepared, None, frozen_layers=2)
    assert cached_rows(prepared, make_cache(tmp_path), frozen_layers=2) == 0
    warning, _ = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "the trunk cache is not used" in warning.getMessage()


class Looks(nn.Module):
    """A head that also reads what the embeddings put out: feeding a later block would change it."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.inner = model.classifier
        self.bias: torch.Tensor | None = None
        model.get_submodule("bert.encoder.layer.0.output").register_forward_hook(self._note)

    def _note(self, _module: nn.Module, _args: object, output: torch.Tensor) -> None:
        self.bias = output.detach().abs().mean()

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.inner(pooled)
        seen, self.bias = self.bias, None
        return logits if seen is None else logits + seen


def test_a_model_that_would_put_out_something_else_is_left_alone(
    prepared: Prepared, cache: TrunkCache, caplog: pytest.LogCaptureFixture
) -> None:
    frozen = Frozen(prepared, 2)
    frozen.model.classifier = Looks(frozen.model)
    plain = frozen.loss(prepared)
    assert frozen.open(cache).train is prepared.train
    assert "the outputs of this model differ by" in caplog.text
    assert frozen.loss(prepared) == plain


def test_what_drops_out_below_frozen_blocks_is_not_cached(
    pristine: Path, tmp_path: Path, cache: TrunkCache, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = prepare_architecture(tmp_path, pristine, "biogpt")
    plain = losses(prepared, None, frozen_layers=1)
    assert losses(prepared, cache, frozen_layers=1) == plain
    assert cached_rows(prepared, cache, frozen_layers=1) == 0
    assert "is dropped out at random in training" in caplog.text


def test_blocks_that_do_not_put_rows_first_are_not_cached(
    pristine: Path, tmp_path: Path, cache: TrunkCache, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = prepare_architecture(tmp_path, pristine, "xlnet")
    assert cached_rows(prepared, cache, frozen_layers=1) == 0
    assert "do not put out [rows, tokens, width]" in caplog.text


def test_rows_padded_on_the_left_are_not_cached(
    prepared: Prepared, cache: TrunkCache, caplog: pytest.LogCaptureFixture
) -> None:
    left = replace(prepared, train=replace(prepared.train, pads_left=True))  # type: ignore[type-var]
    assert Frozen(left, 2).open(cache).train is left.train
    assert "padded on the left" in caplog.text


def test_a_block_that_trains_is_not_cached(
    prepared: Prepared, cache: TrunkCache, caplog: pytest.LogCaptureFixture
) -> None:
    frozen = Frozen(prepared, 2)
    next(frozen.blocks[1].parameters()).requires_grad_(True)
    assert frozen.open(cache).train is prepared.train
    assert "a parameter that trains lies below the last frozen block" in caplog.text


def test_modes_are_left_as_they_were(prepared: Prepared, cache: TrunkCache) -> None:
    frozen = Frozen(prepared, 2)
    frozen.model.train()
    frozen.blocks[0].eval()
    before = {name: module.training for name, module in frozen.model.named_modules()}
    frozen.open(cache)
    assert {name: module.training for name, module in frozen.model.named_modules()} == before


def test_a_fed_model_can_be_freed(prepared: Prepared, cache: TrunkCache) -> None:
    frozen = Frozen(prepared, 2)
    frozen.hook.remove()
    frozen.loss(frozen.open(cache))
    held = [weakref.ref(frozen.model), *map(weakref.ref, frozen.blocks)]
    gc.collect()
    gc.disable()
    try:
        del frozen
        assert [thing() for thing in held] == [None] * 4
    finally:
        gc.enable()
