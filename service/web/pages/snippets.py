"""The answer of a study as texts to copy: JSON, TrainingArguments, curl and Python."""

import json
from dataclasses import dataclass

from spezia.contract.best_trial import BestTrial


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """A text to copy."""

    id: str
    label: str
    text: str


def snippets(best: BestTrial, address: str) -> list[Snippet]:
    """Return the texts to copy of a study's best trial; ``address`` is the service's, without a slash at its end."""
    found = [Snippet(id="json", label="JSON", text=json.dumps(best.params, indent=2, ensure_ascii=False))]
    if best.training_arguments:
        lines = [f"    {name}={value!r}," for name, value in best.training_arguments.items()]
        text = "\n".join(["TrainingArguments(", f"    output_dir={best.study!r},", *lines, ")"])
        found.append(Snippet(id="arguments", label="TrainingArguments", text=text))
    path = f"{address}/v1/studies/{best.study}/best"
    model = f"\ncurl {path}/model | tar x" if best.model and best.model.endswith("/best/model") else ""
    found.append(Snippet(id="curl", label="curl", text=f"curl {path}{model}"))
    python = [
        "from spezia import Client",
        "",
        f"with Client({address!r}) as client:",
        f"    best = client.best({best.study!r})",
        "    print(best.params)",
    ]
    return [*found, Snippet(id="python", label="Python", text="\n".join(python))]
