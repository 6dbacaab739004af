"""Whether each architecture trains by each method, or is refused by name: `python -m tests.trainer.test_architectures`
writes the table of docs/data-and-models.md anew.

A trial trains if two steps move the model, and if the saved folder, opened by plain transformers, gives the logits that
the trial gave, whether examples come in one batch or one by one; an adapter also by plain peft over the base model.
"""

import re
import tempfile
from collections import defaultdict
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
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    logging,
)

from tests.trainer import tiny
from tests.trainer.architectures import IMAGE_ARCHITECTURES, TEXT_ARCHITECTURES, save_model, write_images, write_texts
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
ARCHITECTURES = (*TEXT_ARCHITECTURES, *IMAGE_ARCHITECTURES)
N_ROWS = {"train": 16, "validation": 7}


class _Spy(BestModel):
    """Keeps hold of the trial's model."""

    model: PreTrainedModel

    def keep(self, pretrained: Pretrained, model: PreTrainedModel) -> None:
        super().keep(pretrained, model)
        self.model = model


def prepare_study(root: Path, architecture: str, method: str) -> Prepared:
    save_model(root / architecture, architecture)
    write = write_images if architecture in IMAGE_ARCHITECTURES else write_texts
    study = write(root, **N_ROWS)
    spec = tiny.make_spec(model={"name": architecture}, fixed=METHODS[method] | SHORT, **study)
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
    _check_plain(root, expected, reads_images=prepared.task.reads_images)
    if method == "lora":
        base = prepared.task.model_class.from_pretrained(root / architecture, num_labels=len(tiny.CLASSES))
        base.config.pad_token_id = getattr(prepared.pretrained.processor, "pad_token_id", None)
        adapted: Any = PeftModel.from_pretrained(base, root / "saved" / "adapter")
        _check_equal(_logits(prepared, adapted), expected, "the adapter gives other logits")


def _logits(prepared: Prepared, model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        return forward(model.eval(), prepared.validation.collate(np.arange(N_ROWS["validation"]), tiny.CPU), "fp32")


def _check_plain(root: Path, expected: torch.Tensor, *, reads_images: bool) -> None:
    saved = root / "saved"
    if reads_images:
        model = AutoModelForImageClassification.from_pretrained(saved)
        processor = partial(AutoImageProcessor.from_pretrained(saved, backend="pil"), return_tensors="pt")
        examples: list[Any] = [Image.open(file) for file in sorted((root / "validation").glob("*/*.png"))]
    else:
        model = AutoModelForSequenceClassification.from_pretrained(saved)
        processor = partial(AutoTokenizer.from_pretrained(saved), padding=True, truncation=True, return_tensors="pt")
        examples = [text for text, _ in tiny.make_examples(N_ROWS["validation"], seed=2)]
    with torch.no_grad():
        together = model.eval()(**processor(examples)).logits
        alone = torch.cat([model(**processor([one])).logits for one in examples])
    _check_equal(together, expected, "the saved model gives other logits")
    _check_equal(alone, expected, "padding changes the logits")


def _check_equal(found: torch.Tensor, expected: torch.Tensor, what: str) -> None:
    scale = max(1.0, float(expected.abs().max()))
    difference = float((found - expected).abs().max())
    assert difference <= 2e-5 * scale, f"{what}: by {difference:.1e}"


def ending_of(architecture: str, method: str) -> tuple[str, str]:
    """Return how a trial ends, in a word, and for a refusal its reason."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        try:
            prepared = prepare_study(root, architecture, method)
        except ConfigError as refusal:
            reason = str(refusal).replace(f"{root}/", "")
            return REFUSED, reason.replace(repr(architecture), "…").replace(architecture, "…")
        check_trial(prepared, root, architecture, method)
        return TRAINS, ""


def described(endings: dict[str, list[tuple[str, str]]]) -> str:
    """Return the table of architectures in which those with the same endings share a row.

    Args:
        endings: of each architecture, by each of ``METHODS``.
    """
    reasons = sorted({reason for of_one in endings.values() for _, reason in of_one if reason})
    rows = defaultdict(list)
    for architecture, of_one in endings.items():
        cells = (f"{word} ({reasons.index(reason) + 1})" if reason else word for word, reason in of_one)
        rows[" | ".join(cells)].append(architecture)
    lines = [
        "| architectures | " + " | ".join(f"`{method}`" for method in METHODS) + " |",
        "|---" * (len(METHODS) + 1) + "|",
        *(f"| {', '.join(names)} | {cells} |" for cells, names in sorted(rows.items(), reverse=True)),
        "",
        *(f"{number}. {reason}" for number, reason in enumerate(reasons, start=1)),
    ]
    return "\n".join(lines)


def stated(page: str) -> dict[tuple[str, str], tuple[str, str]]:
    """Return the ending and its reason that ``page`` has for each architecture and method."""
    section = page.partition(BEGIN)[2].partition(END)[0]
    reasons = dict(re.findall(r"^(\d+)\. (.*)$", section, flags=re.MULTILINE))
    found = {}
    for row in re.findall(r"^\| (?!architectures)(.*) \|$", section, flags=re.MULTILINE):
        names, *cells = row.split(" | ")
        for method, cell in zip(METHODS, cells, strict=True):
            word, _, number = cell.removesuffix(")").partition(" (")
            found |= {(name, method): (word, reasons.get(number, "")) for name in names.split(", ")}
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_architecture_trains_or_is_refused_as_the_page_says(architecture: str, method: str) -> None:
    ending = ending_of(architecture, method)
    assert stated(PAGE.read_text())[architecture, method] == ending, "run `python -m tests.trainer.test_architectures`"


def test_the_page_has_every_architecture_and_method_once() -> None:
    cases = stated(PAGE.read_text())
    assert sorted(cases) == sorted((architecture, method) for architecture in ARCHITECTURES for method in METHODS)


def main() -> None:
    """Write the table anew."""
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    before, _, rest = PAGE.read_text().partition(BEGIN)
    table = described({name: [ending_of(name, method) for method in METHODS] for name in ARCHITECTURES})
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
