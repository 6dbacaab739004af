"""What a study begins with is what the service has."""

from service.search.presets.presets import PRESETS
from spezia.common.first_choices import EPOCHS, MODELS, preset_for
from spezia.contract.tasks import TRAINED_TASKS


def test_defaults_are_those_of_the_service() -> None:
    assert set(MODELS) == set(TRAINED_TASKS)
    for task in TRAINED_TASKS:
        for n_rows in (100, 100_000):
            assert task in PRESETS[preset_for(task, n_rows)].tasks
    assert preset_for("text-classification", 999) == "small-encoder-small-data"
    assert preset_for("text-classification", 999, "google-bert/bert-base-uncased") == "encoder-small-data"
    assert {name: PRESETS[name].parameters["epochs"].default for name in EPOCHS} == EPOCHS
