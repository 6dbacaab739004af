"""Whether each architecture trains by each method, or is refused by name: `python -m tests.trainer.test_architectures`
writes the table of docs/data-and-models.md anew.

A trial trains if two steps move the model, and if the saved folder, opened by plain transformers, gives the logits that
the trial gave, whether examples come in one batch or one by one; an adapter also by plain peft over the base model.
"""

import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    logging,
)

from tests.trainer import tiny
from tests.trainer.architectures import ARCHITECTURES, save_model, write_images, write_texts
from trainer.errors import ConfigError
from trainer.model.best_model import BestModel
from trainer.model.forward import forward
from trainer.model.pretrained import Pretrained
from trainer.train.fine_tune import fine_tune
from trainer.train.prepare import Prepared, prepare
from trainer.trial.config import TrialConfig

PAGE = Path(__file__).parents[2] / "docs" / "data-and-models.md"
METHODS: dict[str, dict[str, Any]] = {
    "full": {},
    "head_only": {"method": "head_only"},
    "lora": {"method": "lora", "lora_rank": 4},
    "frozen_fraction": {"frozen_fraction": 0.5},
}
BEGIN = "<!-- written by `python -m tests.trainer.test_architectures` -->\n"
END = "\n<!-- end -->"
SHORT: dict[str, Any] = {"batch_size": 8, "epochs": 1}
"""Two steps."""
TRAINS, REFUSED = "trains", "refused"
CASES = [(task, architecture) for task, of_task in ARCHITECTURES.items() for architecture in of_task]
N_ROWS = {"train": 16, "validation": 7}


class _Spy(BestModel):
    """Keeps hold of the trial's model."""

    model: PreTrainedModel

    def keep(self, pretrained: Pretrained, model: PreTrainedModel) -> None:
        super().keep(pretrained, model)
        self.model = model


def prepare_study(root: Path, task: str, architecture: str, method: str) -> Prepared:
    save_model(root / architecture, architecture, AutoModelForCausalLM if task == "causal-lm" else AutoModel)
    write = write_images if task == "image-classification" else write_texts
    spec = tiny.make_spec(
        task=task, model={"name": architecture}, data=write(root, **N_ROWS), fixed=METHODS[method] | SHORT
    )
    return prepare(spec, roots=[root], device=tiny.CPU)


def check_trial(prepared: Prepared, root: Path, architecture: str, method: str) -> None:
    """Train a tiny model, and open what is saved."""
    trial = _Spy()
    config = TrialConfig.from_params(METHODS[method] | SHORT | {"learning_rate": 1e-2})
    list(fine_tune(prepared, config, seed=0, number=0, best=trial))
    trial.save(root / "saved")
    expected = _logits(prepared, trial.model)
    before = _logits(prepared, prepared.pretrained.new_model(seed=0, number=0))
    assert (expected - before).abs().max() > 1e-3, "training moved nothing"
    _check_plain(prepared, root, expected)
    if method == "lora":
        head = {} if prepared.spec.task == "causal-lm" else {"num_labels": len(tiny.CLASSES)}
        base = prepared.task.model_class.from_pretrained(root / architecture, **head)
        base.config.pad_token_id = getattr(prepared.pretrained.processor, "pad_token_id", None)
        adapted: Any = PeftModel.from_pretrained(base, root / "saved" / "adapter")
        _check_equal(_logits(prepared, adapted), expected, "the adapter gives other logits")


def _logits(prepared: Prepared, model: PreTrainedModel) -> torch.Tensor:
    """Those of all validation rows, without those of padding."""
    batch = prepared.validation.collate(np.arange(N_ROWS["validation"]), tiny.CPU)
    with torch.no_grad():
        return _counted(forward(model.eval(), batch, "fp32"), batch.inputs)


def _counted(logits: torch.Tensor, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return logits[inputs["attention_mask"] == 1] if logits.ndim == 3 else logits


def _check_plain(prepared: Prepared, root: Path, expected: torch.Tensor) -> None:
    saved = root / "saved"
    model = prepared.task.model_class.from_pretrained(saved).eval()
    if prepared.task.reads_images:
        read = partial(AutoImageProcessor.from_pretrained(saved, backend="pil"), return_tensors="pt")
        examples: list[Any] = [Image.open(file) for file in sorted((root / "validation").glob("*/*.png"))]
    else:
        tokenizer = AutoTokenizer.from_pretrained(saved)
        read = partial(tokenizer, padding=True, truncation=True, return_tensors="pt")
        end = (prepared.spec.task == "causal-lm" and tokenizer.eos_token) or ""
        examples = [f"{text}{end}" for text, _ in tiny.make_examples(N_ROWS["validation"], seed=2)]
    batches = [read(examples), *(read([example]) for example in examples)]
    with torch.no_grad():
        together, *alone = (_counted(model(**batch).logits, batch) for batch in batches)
    _check_equal(together, expected, "the saved model gives other logits")
    _check_equal(torch.cat(alone), expected, "padding changes the logits")


def _check_equal(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    scale = max(1.0, float(expected.abs().max()))
    difference = float((found - expected).abs().max())
    assert difference <= 2e-5 * scale, f"{what}: by {difference:.1e}"


def ending_of(task: str, architecture: str, method: str) -> tuple[str, str]:
    """Return how a trial ends, in a word, and for a refusal its reason."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        try:
            prepared = prepare_study(root, task, architecture, method)
        except ConfigError as refusal:
            reason = str(refusal).replace(f"{root}/", "")
            return REFUSED, reason.replace(repr(architecture), "…").replace(architecture, "…")
        check_trial(prepared, root, architecture, method)
        return TRAINS, ""


def described(endings: Mapping[tuple[str, str], Sequence[tuple[str, str]]]) -> str:
    """Return the table, in which architectures with the same endings share a row.

    Args:
        endings: of each task and architecture, by each of ``METHODS``.
    """
    reasons = sorted({reason for of_one in endings.values() for _, reason in of_one if reason})
    rows = defaultdict(list)
    for (task, architecture), of_one in endings.items():
        cells = (f"{word} ({reasons.index(reason) + 1})" if reason else word for word, reason in of_one)
        rows[task, " | ".join(cells)].append(architecture)
    ordered = sorted(rows.items(), key=lambda row: row[0], reverse=True)
    lines = [
        "| task | architectures | " + " | ".join(f"`{method}`" for method in METHODS) + " |",
        "|---" * (len(METHODS) + 2) + "|",
        *(f"| `{task}` | {', '.join(names)} | {cells} |" for (task, cells), names in ordered),
        "",
        *(f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)),
    ]
    return "\n".join(lines)


def stated(page: str) -> dict[tuple[str, str, str], tuple[str, str]]:
    """Return the ending and its reason that ``page`` has for each task, architecture and method."""
    section = page.partition(BEGIN)[2].partition(END)[0]
    reasons = dict(re.findall(r"^(\d+)\. (.*)$", section, flags=re.MULTILINE))
    found = {}
    for task, row in re.findall(r"^\| `(\S+)` \| (.*) \|$", section, flags=re.MULTILINE):
        names, *cells = row.split(" | ")
        for method, cell in zip(METHODS, cells, strict=True):
            word, _, number = cell.removesuffix(")").partition(" (")
            found |= {(task, name, method): (word, reasons.get(number, "")) for name in names.split(", ")}
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("task", "architecture"), CASES)
def test_an_architecture_trains_or_is_refused_as_the_page_says(task: str, architecture: str, method: str) -> None:
    ending = ending_of(task, architecture, method)
    found = stated(PAGE.read_text())[task, architecture, method]
    assert found == ending, "run `python -m tests.trainer.test_architectures`"


def test_the_page_has_every_architecture_and_method_once() -> None:
    assert sorted(stated(PAGE.read_text())) == sorted((*case, method) for case in CASES for method in METHODS)


def main() -> None:
    """Write the table anew."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    before, _, rest = PAGE.read_text().partition(BEGIN)
    table = described({case: [ending_of(*case, method) for method in METHODS] for case in CASES})
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
