"""The model card of a study's winner: what it was made of, and how good it is."""

import re
from importlib.metadata import version
from typing import Any

from spezia.common.plural import plural
from spezia.contract.best_trial import BestTrial
from spezia.contract.study import Study

_HUB_NAME = re.compile(r"^[\w.-]+/[\w.-]+$")
_PIPELINES = {
    "text-classification": "text-classification",
    "text-regression": "text-classification",
    "token-classification": "token-classification",
    "image-classification": "image-classification",
    "causal-lm": "text-generation",
}


def model_card(study: Study, best: BestTrial, params: dict[str, Any], worker: dict[str, Any]) -> str:
    """Write the README.md of the winner's directory, in the format of the Hugging Face hub.

    Args:
        params: Params of the winner, fixed ones included.
        worker: ``device`` and ``versions`` of the worker that trained it.
    """
    sections = [
        _front_matter(study),
        f"# {study.name}",
        f"{_origin(study)} by a hyperparameter search with Spezia: trial {best.number} of study `{study.name}`.",
        "## Results",
        _results(best),
        *_warnings(best),
        "## Data",
        _data(study),
        "## Hyperparameters",
        _table(("parameter", "value"), [*sorted(params.items()), *_class_weights(study)]),
        "## Search",
        _search(study, best),
        "## Versions",
        _versions(study, worker),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(study: Study) -> str:
    lines = ["---", "library_name: transformers"]
    if study.spec.task in _PIPELINES:
        lines.append(f"pipeline_tag: {_PIPELINES[study.spec.task]}")
    if study.spec.model and _HUB_NAME.match(study.spec.model.name):
        lines.append(f"base_model: {study.spec.model.name}")
    return "\n".join([*lines, "tags: [spezia]", "---"])


def _origin(study: Study) -> str:
    model = study.spec.model
    return f"`{model.name}`, fine-tuned for {study.spec.task}" if model else "What a script trained, chosen"


def _results(best: BestTrial) -> str:
    validation = {name: value for name, value in best.metrics.items() if not name.startswith("test_")}
    rows = [
        (name, f"{value:.6g}", _figure(best.metrics.get("test_" + name.removeprefix("validation_"))))
        for name, value in sorted(validation.items())
    ]
    scored = any(name.startswith("test_") for name in best.metrics)
    test = "scored once, after the search" if scored else "not scored"
    return (
        f"At evaluation {best.step} (epoch {best.epoch:g}), the trial's best by {best.metric}. Losses in nats. The "
        f"test split was locked during the search and {test}.\n\n"
        + _table(("metric", "training and validation", "test"), rows)
    )


def _warnings(best: BestTrial) -> list[str]:
    return (
        ["\n".join(["To keep in mind:", "", *(f"- {warning}" for warning in best.warnings)])] if best.warnings else []
    )


def _data(study: Study) -> str:
    data, facts = study.spec.data, study.facts
    assert facts is not None
    if data is None:
        return "Read by the script."
    rows = [
        ("training", data.train, facts.train_rows),
        ("validation", data.validation or "a part of training, split off by the seed", facts.validation_rows),
        ("test", data.test or "none", facts.test_rows),
    ]
    lines = [_table(("split", "source", "rows"), rows), f"SHA-256 of all data: `{facts.data_sha256}`."]
    if facts.columns:
        named = ", ".join(f"{ours} is `{theirs}`" for ours, theirs in facts.columns.items())
        lines.append(f"Columns: {named}.")
    if "text_pair" in facts.columns:
        lines.append('Texts come in pairs: call the pipeline with `{"text": …, "text_pair": …}`.')
    if facts.classes:
        lines.append(f"Classes: {', '.join(facts.classes)}.")
    lines.append(f"Longest example: {plural(facts.max_tokens, 'token')}; rows that were cut: {facts.truncated_rows:,}.")
    return "\n\n".join(lines)


def _class_weights(study: Study) -> list[tuple[str, object]]:
    weights = study.spec.training.class_weights
    return [] if weights is None else [("training.class_weights", weights)]


def _search(study: Study, best: BestTrial) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in best.trials.model_dump().items() if count)
    rows: list[tuple[str, object]] = [
        ("trials", counts),
        ("sampler", study.spec.sampler.name),
        ("pruner", study.spec.pruner.name),
        ("objectives", ", ".join(f"{one.direction} {one.metric}" for one in study.spec.objectives)),
        ("constraints", ", ".join(one.name for one in study.spec.constraints)),
        ("best values", _figures(best.values)),
        ("baseline's values", _figures(best.baseline.values if best.baseline else {})),
        ("improvement over the baseline", _figures(best.improvements or {})),
        ("confirmation", best.confirmation.sentence if best.confirmation else "none was asked for"),
        ("seed", study.spec.seed),
        ("device seconds", f"{best.device_seconds:.0f}"),
    ]
    return _table(("", ""), rows)


def _versions(study: Study, worker: dict[str, Any]) -> str:
    facts = study.facts
    assert facts is not None
    rows = [
        *sorted(({"spezia": version("spezia")} | worker["versions"]).items()),
        ("device", worker["device"]),
        ("precision", facts.precision),
        ("base model, commit", facts.model_commit or "none: a directory or a carried copy"),
        ("base model, SHA-256", facts.model_sha256),
    ]
    return _table(("", ""), rows)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _figures(values: dict[str, float]) -> str:
    return ", ".join(f"{metric} {value:.6g}" for metric, value in values.items())


def _table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return str("" if value is None else value).replace("|", "\\|").replace("\n", " ")
