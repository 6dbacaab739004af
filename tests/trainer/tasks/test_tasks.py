"""Every task against plain transformers, and its saved model against its pipeline."""

import copy
import math
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, f1_score
from transformers import PreTrainedModel, get_linear_schedule_with_warmup, pipeline
from transformers.pytorch_utils import Conv1D

from spezia.contract.assignments import Resume
from tests.trainer import tiny
from tests.trainer.task_cases import CASES, TAGS, TaskCase
from trainer.data.batches import epoch_batches
from trainer.model.best_model import BestModel
from trainer.train.checkpoint import Checkpoints, Preempted
from trainer.train.evaluate import evaluate
from trainer.train.fine_tune import Evaluation, fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.train.row_scores import RowScores
from trainer.train.score import score
from trainer.train.train_step import accumulate_gradients
from trainer.trial.checkpoint_folder import CheckpointFolder
from trainer.trial.config import TrialConfig
from trainer.trial.seeds import derive_seed

BATCH_SIZE = 8
EPOCHS = 2
N_STEPS = 10
RATE = 5e-3


@dataclass(frozen=True, kw_only=True)
class Study:
    case: TaskCase
    root: Path
    prepared: Prepared


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.id)
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Study:
    case: TaskCase = request.param
    root = tmp_path_factory.mktemp(case.id)
    case.write(root)
    spec = tiny.make_spec(**case.spec(fixed={"batch_size": BATCH_SIZE}, training={"evaluations_per_epoch": 5}))
    return Study(case=case, root=root, prepared=prepare(spec, roots=[root], device=tiny.CPU))


@dataclass(frozen=True, kw_only=True)
class Trial:
    study: Study
    evaluations: list[Evaluation]
    directory: Path
    """Of the best model."""


@pytest.fixture(scope="module")
def trial(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    config = TrialConfig.from_params(
        {"learning_rate": RATE, "batch_size": BATCH_SIZE, "epochs": EPOCHS, "weight_decay": 0.1, "warmup_ratio": 0.2}
    )
    best = BestModel()
    evaluations = list(fine_tune(study.prepared, config, seed=7, number=3, best=best))
    directory = tmp_path_factory.mktemp("best")
    best.save(directory)
    return Trial(study=study, evaluations=evaluations, directory=directory)


def plain_model(study: Study, directory: Path | None = None) -> PreTrainedModel:
    model: PreTrainedModel = study.case.auto_class.from_pretrained(directory or study.root / "model")
    return model


def plain_loss(study: Study, model: PreTrainedModel, split: str, rows: Sequence[int] | None = None) -> torch.Tensor:
    """transformers' own loss of one batch."""
    all_rows = study.case.rows(split)
    chosen = all_rows if rows is None else [all_rows[row] for row in rows]
    inputs = study.case.inputs_of(study.case.processor(study.root / "model"), chosen, study.root)
    loss: torch.Tensor = model(**inputs).loss
    return loss


def plain_loop(study: Study, model: Any, orders: list[list[int]]) -> tuple[list[float], list[float]]:
    trained = [p for p in model.parameters() if p.requires_grad]
    decay = [p for p in trained if p.ndim >= 2]
    no_decay = [p for p in trained if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": no_decay, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE)
    schedule = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=2, num_training_steps=N_STEPS)
    train_losses, validation_losses = [], []
    for rows in orders:
        loss = plain_loss(study, model.train(), "train", rows)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        train_losses.append(loss.item())
        with torch.no_grad():
            validation_losses.append(plain_loss(study, model.eval(), "validation").item())
    return train_losses, validation_losses


def orders_of(study: Study) -> list[list[int]]:
    """The rows of each step."""
    lengths_N = study.prepared.train.lengths_N
    return [
        rows.tolist()
        for epoch in range(EPOCHS)
        for rows in epoch_batches(lengths_N, BATCH_SIZE, derive_seed("batches", 7, 3, epoch))
    ]


def compare(evaluations: list[Evaluation], plain: tuple[list[float], list[float]]) -> None:
    train_losses, validation_losses = plain
    assert len(evaluations) == len(train_losses) == N_STEPS
    ours = [evaluation.metrics for evaluation in evaluations]
    assert [metrics["train_loss"] for metrics in ours] == pytest.approx(train_losses, abs=1e-4)
    assert [metrics["validation_loss"] for metrics in ours] == pytest.approx(validation_losses, abs=1e-4)


def test_a_trial_has_the_losses_of_a_plain_loop(trial: Trial) -> None:
    plain = plain_loop(trial.study, plain_model(trial.study), orders_of(trial.study))
    compare(trial.evaluations, plain)
    assert min(plain[1]) < 0.97 * plain[1][0]  # it did learn something


def frozen(study: Study, blocks: str) -> Any:
    """With the embeddings and ``blocks``, a pattern of their numbers, frozen."""
    model = plain_model(study)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not re.search(rf"embed|wte|wpe|(layer|layers|h)\.{blocks}\.", name))
    return model


def with_adapters(study: Study) -> Any:
    model = plain_model(study)
    heads = [name for name in ("classifier", "score") if hasattr(model, name)]
    in_a_block = re.compile(r"(layer|layers|h)\.\d+\.")
    described = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=[
            name
            for name, module in model.named_modules()
            if in_a_block.search(name) and isinstance(module, torch.nn.Linear | Conv1D)
        ],
        fan_in_fan_out=study.case.family == "gpt2",
        modules_to_save=heads or None,
    )
    torch.manual_seed(derive_seed("adapters", 7, 3))
    return get_peft_model(model, described)


METHODS: dict[str, tuple[dict[str, Any], Callable[[Study], Any]]] = {
    "frozen": ({"frozen_layers": 1}, partial(frozen, blocks="0")),
    "head_only": ({"method": "head_only"}, partial(frozen, blocks=r"\d+")),
    "lora": ({"method": "lora", "lora_rank": 4, "lora_alpha_ratio": 2.0, "lora_dropout": 0.0}, with_adapters),
}


TIED = ("texts-to-write", "head_only")
"""Refused: the head shares its weights with the embeddings (`test_hyperparameters`)."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("study", "method"),
    [
        pytest.param(case, method, id=f"{case.id}-{method}")
        for case in CASES
        for method in METHODS
        if (case.id, method) != TIED
    ],
    indirect=["study"],
)
def test_a_trial_of_every_method_has_the_losses_of_a_plain_loop(study: Study, method: str) -> None:
    chosen, plain = METHODS[method]
    common = {"learning_rate": RATE, "batch_size": BATCH_SIZE, "epochs": EPOCHS, "weight_decay": 0.1}
    config = TrialConfig.from_params(common | {"warmup_ratio": 0.2} | chosen)
    evaluations = list(fine_tune(study.prepared, config, seed=7, number=3, best=BestModel()))
    compare(evaluations, plain_loop(study, plain(study), orders_of(study)))


def test_the_validation_loss_depends_on_no_batch_size_and_no_padding(study: Study) -> None:
    prepared = study.prepared
    model = prepared.pretrained.new_model(seed=0, number=0)
    scores = [
        evaluate(model, prepared.task, prepared.validation, "fp32", tokens=tokens) for tokens in (1, 20, 50, 10_000)
    ]
    for other in scores[1:]:
        assert other == pytest.approx(scores[0], abs=2e-6)


def test_a_batch_in_unequal_pieces_has_the_same_gradients(study: Study) -> None:
    prepared = study.prepared
    gradients = []
    for micro_batch_size in (12, 5):
        model = prepared.pretrained.new_model(seed=0, number=0).eval()
        accumulate_gradients(
            model, prepared.task, prepared.train, np.arange(12), "fp32", micro_batch_size=micro_batch_size
        )
        gradients.append([parameter.grad for parameter in model.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-6, rtol=1e-4)


def test_metrics_are_those_of_the_contract(trial: Trial) -> None:
    task = trial.study.prepared.task
    expected = {"validation_loss", "train_loss", *task.metric_names}
    for evaluation in trial.evaluations:
        assert evaluation.metrics.keys() == expected
        assert all(math.isfinite(value) for value in evaluation.metrics.values())


def test_the_saved_model_scores_on_the_test_split_what_transformers_finds(trial: Trial) -> None:
    scores = score(trial.directory, trial.study.prepared)
    assert scores.keys() == {"test_loss", *(f"test_{name}" for name in trial.study.prepared.task.metric_names)}
    model = plain_model(trial.study, trial.directory)
    with torch.no_grad():
        loss = plain_loss(trial.study, model.eval(), "test").item()
    assert scores["test_loss"] == pytest.approx(loss, abs=1e-5)


def test_a_pipeline_has_the_figures_of_the_best_evaluation(trial: Trial) -> None:
    best = min(trial.evaluations, key=lambda evaluation: evaluation.value)
    figures = PIPELINES[trial.study.case.id](trial)
    assert figures == pytest.approx({name: best.metrics[name] for name in figures}, rel=1e-5, abs=1e-5)


def test_rows_may_be_taken(study: Study) -> None:
    split = study.prepared.train
    some = split.take([5, 2, 11])
    whole = split.collate(np.array([5, 2, 11]), tiny.CPU)
    part = some.collate(np.arange(3), tiny.CPU)
    assert len(some) == 3
    torch.testing.assert_close((part.inputs, part.targets), (whole.inputs, whole.targets), atol=0, rtol=0)
    assert some.n_targets_N.tolist() == split.n_targets_N[[5, 2, 11]].tolist()
    assert some.inputs_sha256 != split.inputs_sha256 == copy.copy(split).inputs_sha256


def open_pipeline(trial: Trial, name: str, **options: Any) -> Any:
    return pipeline(name, model=str(trial.directory), device="cpu", **options)


def one_class(trial: Trial) -> dict[str, float]:
    rows = trial.study.case.rows("validation")
    answers = open_pipeline(trial, "text-classification")([row["text"] for row in rows])
    return {"accuracy": accuracy_score([row["label"] for row in rows], [answer["label"] for answer in answers])}


def pairs(trial: Trial) -> dict[str, float]:
    rows = trial.study.case.rows("validation")
    texts = [{name: row[name] for name in ("text", "text_pair")} for row in rows]
    answers = open_pipeline(trial, "text-classification")(texts, truncation=True)
    return {"accuracy": accuracy_score([row["label"] for row in rows], [answer["label"] for answer in answers])}


def several_classes(trial: Trial) -> dict[str, float]:
    rows = trial.study.case.rows("validation")
    answers = open_pipeline(trial, "text-classification", top_k=None)([row["text"] for row in rows])
    probability = [{entry["label"]: entry["score"] for entry in answer} for answer in answers]
    predicted = np.array([[scores[name] > 0.5 for name in tiny.CLASSES] for scores in probability])
    actual = np.array([[name in row["label"] for name in tiny.CLASSES] for row in rows])
    p = np.array([[scores[name] for name in tiny.CLASSES] for scores in probability])
    return {
        "f1_micro": f1_score(actual, predicted, average="micro", zero_division=0),
        "f1_macro": f1_score(actual, predicted, average="macro", zero_division=0),
        "subset_accuracy": float((predicted == actual).all(axis=1).mean()),
        "validation_loss": float(-np.where(actual, np.log(p), np.log1p(-p)).mean()),
    }


def regression(trial: Trial) -> dict[str, float]:
    rows = trial.study.case.rows("validation")
    answers = open_pipeline(trial, "text-classification")([row["text"] for row in rows])
    predicted = np.array([answer["score"] for answer in answers])
    actual = np.array([row["label"] for row in rows])
    return {
        "mse": float(((predicted - actual) ** 2).mean()),
        "mae": float(np.abs(predicted - actual).mean()),
        "pearson": float(np.corrcoef(predicted, actual)[0, 1]),
    }


def tags(trial: Trial) -> dict[str, float]:
    rows = trial.study.case.rows("validation")
    answers = open_pipeline(trial, "token-classification", ignore_labels=[])([" ".join(row["tokens"]) for row in rows])
    n_right = 0
    for row, answer in zip(rows, answers, strict=True):
        starts = np.cumsum([0, *(len(token) + 1 for token in row["tokens"])])
        by_start = {entry["start"]: entry["entity"] for entry in answer}
        n_right += sum(by_start[start] == tag for start, tag in zip(starts, row["tags"], strict=False))
    assert set(TAGS) == set(trial.study.prepared.task.class_names)
    return {"accuracy": n_right / sum(len(row["tags"]) for row in rows)}


def images(trial: Trial) -> dict[str, float]:
    rows = trial.study.case.rows("validation")
    files = [str(trial.study.root / f"validation{number}.png") for number in range(len(rows))]
    answers = open_pipeline(trial, "image-classification", top_k=1)(files)
    return {"accuracy": accuracy_score([row["label"] for row in rows], [answer[0]["label"] for answer in answers])}


def language(trial: Trial) -> dict[str, float]:
    rows = trial.study.case.rows("validation")
    write = open_pipeline(trial, "text-generation")
    start = rows[0].get("prompt") or "word1"
    assert write(start, max_new_tokens=3, do_sample=False)[0]["generated_text"].startswith(start)
    inputs = trial.study.case.inputs_of(write.tokenizer, rows, trial.study.root)
    with torch.no_grad():
        return {"perplexity": math.exp(write.model(**inputs).loss.item())}


def conversations(trial: Trial) -> dict[str, float]:
    rows = trial.study.case.rows("validation")
    write = open_pipeline(trial, "text-generation")
    (answer,) = write(rows[0]["messages"][:-1], max_new_tokens=3, do_sample=False)
    assert answer["generated_text"][-1]["role"] == "assistant"
    inputs = trial.study.case.inputs_of(write.tokenizer, rows, trial.study.root)
    with torch.no_grad():
        return {"perplexity": math.exp(write.model(**inputs).loss.item())}


PIPELINES = {
    "one-class": one_class,
    "pairs": pairs,
    "several-classes": several_classes,
    "regression": regression,
    "tags": tags,
    "images": images,
    "texts-to-write": language,
    "completions": language,
    "conversations": conversations,
}


@pytest.mark.slow
def test_paused_trial_of_every_task_goes_on_as_if_it_had_not_been(study: Study, tmp_path: Path) -> None:
    def run(attempt: int, resume: Resume | None, *, pauses: bool) -> tuple[list[Evaluation], BestModel]:
        evaluations: list[Evaluation] = []
        checkpoints = Checkpoints(
            folder=CheckpointFolder(tmp_path / "checkpoints"),
            study_id="f" * 32,
            number=3,
            attempt=attempt,
            versions={},
            resume=resume,
            is_stop_wanted=lambda: False,
            is_pause_wanted=lambda: pauses and len(evaluations) == 1,
        )
        config = TrialConfig.from_params({"learning_rate": RATE, "batch_size": BATCH_SIZE, "epochs": EPOCHS})
        best = BestModel()
        with suppress(Preempted):
            for evaluation in fine_tune(
                study.prepared, config, seed=7, number=3, best=best, evaluate_at=[2, 5, 7, 10], checkpoints=checkpoints
            ):
                evaluations.append(evaluation)
        return evaluations, best

    whole, best = run(1, None, pauses=False)
    parts: list[Evaluation] = []
    for attempt, step in enumerate([0, 2, 5], start=2):
        resume = Resume(attempt=attempt - 1, step=step) if step else None
        parts += run(attempt, resume, pauses=True)[0]
    rest, best_of_resumed = run(5, Resume(attempt=4, step=7), pauses=False)
    assert parts + rest == whole
    best.save(tmp_path / "whole")
    best_of_resumed.save(tmp_path / "resumed")
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "resumed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_scores_of_rows_have_the_mean_that_an_evaluation_finds(study: Study) -> None:
    model = study.prepared.pretrained.new_model(seed=3, number=0)
    expected = evaluate(model, study.prepared.task, study.prepared.validation, "fp32")
    scores = RowScores(study.prepared)
    scores.keep(study.prepared.pretrained, model)
    assert scores.scores is not None
    assert len(scores.scores) == len(study.prepared.validation)
    assert len(set(scores.scores)) > 1
    assert float(np.mean(scores.scores)) == pytest.approx(expected["loss"], rel=1e-5)
