"""Embeddings of which only the rows of a study's tokens train: the same numbers, and a whole model in the end."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification

from spezia.contract.assignments import Resume
from tests.trainer import tiny
from tests.trainer.task_cases import CASES, TaskCase
from trainer.errors import CheckpointLost
from trainer.model.best_model import BestModel
from trainer.model.vocabulary import find_seen_tokens, leave_out_unseen
from trainer.train.checkpoint import Checkpoints, Preempted
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.optimizer import make_schedule
from trainer.train.prepare import Prepared, prepare
from trainer.train.score import score
from trainer.trial.checkpoint_folder import CheckpointFolder
from trainer.trial.config import TrialConfig
from trainer.trunk.cache import TrunkCache

N_TOKENS = 90
"""Rows of the embeddings. The tiny tokenizers know half of these tokens, or two thirds."""
PARAMS: dict[str, Any] = {"learning_rate": 5e-3, "epochs": 2, "batch_size": 12, "weight_decay": 0.3, "dropout": 0.2}
N_STEPS = 6
METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "frozen": {"frozen_layers": 1},
    "gradual": {"unfreeze": "gradual"},
    "layer-wise": {"layer_lr_decay": 0.7},
    "lora": {"method": "lora", "lora_rank": 2},
    "head-only": {"method": "head_only"},
}
EMBEDDINGS = "bert.embeddings.word_embeddings.weight"


class ReadsAll(nn.Module):
    """A head that reads all embeddings, and has them under no name of its own."""

    def __init__(self, head: nn.Module, embeddings: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.read = [embeddings]

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.head(hidden) + self.read[0].weight.mean()


def prepare_case(case: TaskCase, folder: Path) -> Prepared:
    head = case.head if case.family == "vit" else case.head | {"vocab_size": N_TOKENS}
    replace(case, head=head).write(folder)
    spec = tiny.make_spec(**case.spec(training={"similarity": False, "early_stopping_patience": None}))
    return prepare(spec, roots=[folder], device=tiny.CPU)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Prepared]:
    return {case.id: prepare_case(case, tmp_path_factory.mktemp(case.id)) for case in CASES}


@pytest.fixture
def study(studies: dict[str, Prepared]) -> Prepared:
    """Texts of one class, read by BERT."""
    return studies["one-class"]


def whole(prepared: Prepared) -> Prepared:
    """The same study, with embeddings that train whole."""
    return replace(prepared, pretrained=replace(prepared.pretrained, seen_tokens=None))


def run(prepared: Prepared, folder: Path, **params: Any) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses of a trial, and the weights that it saves."""
    best = BestModel()
    cache = TrunkCache(folder / "cache")
    config = TrialConfig.from_params(PARAMS | params)
    evaluations = list(fine_tune(prepared, config, seed=0, number=0, best=best, cache=cache))
    best.save(folder / "best")
    return losses_of(evaluations), load_file(folder / "best" / "model.safetensors")


def losses_of(evaluations: Sequence[Evaluation]) -> list[float]:
    return [one.metrics[name] for one in evaluations for name in ("train_loss", "validation_loss")]


def unseen(prepared: Prepared) -> list[int]:
    assert prepared.pretrained.seen_tokens is not None
    return sorted(set(range(N_TOKENS)) - set(prepared.pretrained.seen_tokens.tolist()))


@pytest.mark.parametrize(
    ("case", "method"),
    [
        pytest.param(case.id, method, id=f"{case.id}-{method}")
        for case in CASES
        for method in METHODS
        # a head that is tied to the embeddings cannot train alone
        if (case.id, method) != ("texts-to-write", "head-only")
    ],
)
def test_losses_and_saved_weights_are_those_of_whole_embeddings(
    case: str, method: str, studies: dict[str, Prepared], tmp_path: Path
) -> None:
    prepared = studies[case]
    assert (prepared.pretrained.seen_tokens is None) == (case in ("images", "texts-to-write"))
    losses, saved = run(prepared, tmp_path / "seen", **METHODS[method])
    expected_losses, expected = run(whole(prepared), tmp_path / "whole", **METHODS[method])
    assert losses == pytest.approx(expected_losses, abs=2e-6)
    assert saved.keys() == expected.keys()
    for name in saved:
        # the bias of keys shifts all scores of a query alike: its gradient is rounding, which Adam makes large
        if not name.endswith(("key.bias", "k_proj.bias", "c_attn.bias")):
            torch.testing.assert_close(saved[name], expected[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("method", ["full", "gradual", "layer-wise"])
def test_rows_that_never_occur_decay_as_in_the_optimizer(method: str, study: Prepared, tmp_path: Path) -> None:
    config = TrialConfig.from_params(PARAMS | METHODS[method])
    rate_of = make_schedule(config, N_STEPS)
    share = 0.7**4 if method == "layer-wise" else 1.0
    first = 2 if method == "gradual" else 0  # three blocks thaw in the first third of six steps
    best = BestModel()
    evaluations = list(fine_tune(study, config, seed=0, number=0, best=best))
    losses = [one.metrics["validation_loss"] for one in evaluations]
    n_steps = evaluations[int(np.argmin(losses))].optimizer_steps
    best.save(tmp_path)
    rows = unseen(study)
    left = load_file(tmp_path / "model.safetensors")[EMBEDDINGS][rows]
    factor = np.prod([1 - share * 0.3 * rate_of(step) for step in range(first, n_steps)])
    before = study.pretrained.model.get_parameter(EMBEDDINGS).detach()[rows]
    assert factor < 0.9995
    torch.testing.assert_close(left, before * float(factor), rtol=1e-6, atol=0)


def test_no_more_than_the_rows_that_occur_train(study: Prepared) -> None:
    best = BestModel()
    config = TrialConfig.from_params(PARAMS)
    next(fine_tune(study, config, seed=0, number=0, best=best))
    assert study.pretrained.seen_tokens is not None
    assert len(best.state_dict()[EMBEDDINGS]) == len(study.pretrained.seen_tokens) + 1 < N_TOKENS


def test_a_token_that_was_not_seen_is_refused_and_never_another_one(study: Prepared) -> None:
    model = study.pretrained.new_model(seed=0, number=0)
    assert study.pretrained.seen_tokens is not None
    leave_out_unseen(model, study.pretrained.seen_tokens)
    for token in unseen(study):
        with pytest.raises(IndexError):
            model(input_ids=torch.tensor([[token]]))


def test_a_saved_model_opens_whole_and_reads_tokens_that_only_the_test_split_has(tmp_path: Path) -> None:
    tiny.save_bert(tmp_path / "model")
    for name, words in (("train", "word1 word2 word3"), ("validation", "word2 word4"), ("test", "word30 word31")):
        tiny.write_csv(tmp_path / f"{name}.csv", [(f"{words} {label}", label) for label in tiny.CLASSES * 8])
    spec = tiny.make_spec(training={"similarity": False})
    prepared = prepare(spec, roots=[tmp_path], device=tiny.CPU)
    assert prepared.test is not None
    assert prepared.pretrained.seen_tokens is not None
    assert not set(prepared.test.tokens_S.tolist()) <= set(prepared.pretrained.seen_tokens.tolist())
    run(prepared, tmp_path / "seen")
    run(whole(prepared), tmp_path / "whole")
    scores, expected = (score(tmp_path / name / "best", prepared) for name in ("seen", "whole"))
    assert scores == pytest.approx(expected, abs=2e-6)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "seen" / "best")
    assert len(model.get_input_embeddings().weight) == model.config.vocab_size == tiny.VOCABULARY_SIZE


@pytest.mark.parametrize("stop_at", [2, 5])
def test_a_trial_goes_on_from_a_checkpoint_with_the_same_numbers(stop_at: int, study: Prepared, tmp_path: Path) -> None:
    config = TrialConfig.from_params(PARAMS)

    def attempt(number: int, resume: Resume | None, prepared: Prepared = study) -> tuple[list[Evaluation], BestModel]:
        looks = iter(range(1, 100))
        best, evaluations = BestModel(), []
        kept = Checkpoints(
            folder=CheckpointFolder(tmp_path),
            study_id="f" * 32,
            number=0,
            attempt=number,
            versions={},
            resume=resume,
            is_stop_wanted=lambda: number == 1 and next(looks) >= stop_at,
        )
        try:
            for evaluation in fine_tune(prepared, config, seed=0, number=0, best=best, checkpoints=kept):
                evaluations.append(evaluation)
        except Preempted:
            pass
        return evaluations, best

    before, _ = attempt(1, None)
    resume = Resume(attempt=1, step=len(before))
    with pytest.raises(CheckpointLost, match="another shape"):
        attempt(2, resume, whole(study))
    rest, best = attempt(2, resume)
    losses, saved = run(study, tmp_path)
    assert losses_of([*before, *rest]) == losses
    best.save(tmp_path / "resumed")
    resumed = load_file(tmp_path / "resumed" / "model.safetensors")
    assert all(torch.equal(resumed[name], saved[name]) for name in saved)


def test_embeddings_train_whole_where_more_of_them_is_read_than_rows(study: Prepared) -> None:
    splits = study.train, study.validation
    pretrained = study.pretrained
    model = pretrained.new_model(seed=0, number=0)
    assert find_seen_tokens(replace(pretrained, model=model), splits) is not None
    assert find_seen_tokens(replace(pretrained, model=model, missing=frozenset([EMBEDDINGS])), splits) is None
    head, embeddings = model.classifier, model.get_input_embeddings()
    model.classifier = ReadsAll(head, embeddings)
    assert find_seen_tokens(replace(pretrained, model=model), splits) is None
    model.classifier = head
    model.extra = nn.Linear(embeddings.embedding_dim, N_TOKENS, bias=False)
    model.extra.weight = embeddings.weight
    assert find_seen_tokens(replace(pretrained, model=model), splits) is None
