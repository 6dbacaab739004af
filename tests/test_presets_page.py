"""docs/presets.md is written from the table of presets: `python -m tests.test_presets_page` writes it anew."""

import re
from pathlib import Path

from service.search.presets import presets
from service.search.presets.presets import PRESETS
from spezia.cli.tables import default_words, range_words
from spezia.contract.preset import Preset

PAGE = Path(__file__).parent.parent / "docs" / "presets.md"
INTRODUCTION = """\
# Presets

A preset is a search space taken from published recipes: ranges, defaults and values for a task, a method and a size
of data, each with its source. This page is written from the table in `service/search/presets/presets.py`;
`GET /v1/presets` and `spezia presets` show the same. [Hyperparameters](hyperparameters.md) says what each means.

```yaml
task: text-classification
model: {name: sentence-transformers/all-MiniLM-L6-v2}
data: {train: train.csv}
preset: encoder-small-data                # the whole search space, or …
search_space:
  dropout: {type: float, low: 0.0, high: 0.3}     # … more parameters, or other ranges of the same
fixed: {weight_decay: 0.1}                # … or values: these are not searched then
```

Ranges and values of the study's own replace those of the preset. When the study is created the rest of the preset is
written into its `search_space` and `fixed`, and reading the study back shows it there: a later version of the table
changes no study that exists. Trial 0 runs the defaults below, so that the search has something to beat
(`baseline: false` switches it off), and what the preset tries first is enqueued behind what the study enqueues itself.
The first of these begins before trial 0 ([decision 0048](decisions/0048-the-baseline-begins-second.md)).
Where trials are pruned, which they are unless the study says otherwise, `epochs` are fixed at the most of their range.

`spezia validate study.yaml` (`POST /v1/studies:validate`) checks a study without starting it, and warns of settings
that are allowed and likely to disappoint; a study that is started keeps the same warnings. It advises 9 trials or more
for 2 or 3 parameters, 20 for up to 6, and 40 for more.

A model without a list of blocks (ALBERT, Swin, ConvNeXt) cannot be frozen in part: with a preset that searches
`frozen_fraction`, give `fixed: {frozen_fraction: 0.0}` as well.
"""


def page() -> str:
    """Return the page as the table has it."""
    return "\n".join([INTRODUCTION, *(_section(preset) for preset in PRESETS.values()), _sources()])


def _section(preset: Preset) -> str:
    rows = [
        f"| `{name}` | {default_words(line)} | {range_words(line)} | {line.source} |"
        for name, line in preset.parameters.items()
    ]
    head = ["| parameter | default | range | source |", "|---|---|---|---|"]
    tasks = f"For {', '.join(preset.tasks)}: {preset.summary}."
    return "\n".join([f"## {preset.name}", "", tasks, "", *head, *rows, "", *_tried_first(preset)])


def _tried_first(preset: Preset) -> list[str]:
    listed = [f"- {', '.join(f'`{name}` {value:g}' for name, value in params.items())}" for params in preset.enqueue]
    return [f"Tried first, after the defaults ({preset.enqueue_source}):", "", *listed, ""] if listed else []


def _sources() -> str:
    listed = re.findall(r"^(\S.*?)  +(\S.*)$", presets.__doc__ or "", flags=re.MULTILINE)
    return "\n".join(["## Sources", "", *(f"- **{name}**: {work}" for name, work in listed), ""])


def test_the_page_is_in_step_with_the_table() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.test_presets_page`"


def test_every_source_that_a_line_names_is_listed() -> None:
    listed = set(re.findall(r"^- \*\*(.+?)\*\*", _sources(), flags=re.MULTILINE))
    for preset in PRESETS.values():
        for line in preset.parameters.values():
            assert any(name in line.source for name in listed) or "ours" in line.source, line.source
    used = " ".join(line.source for preset in PRESETS.values() for line in preset.parameters.values())
    assert {name for name in listed if name not in used} <= {"Playbook"}


if __name__ == "__main__":
    PAGE.write_text(page())
