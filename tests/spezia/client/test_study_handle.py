import io
from pathlib import Path
from typing import Any

import httpx2
import pytest

from spezia import Client, SpeziaError, StudyChange, StudyHandle
from spezia.client import figure, study_handle, trials_dataframe
from spezia.common.extras import MissingExtra
from spezia.common.home_lock import hold
from spezia.common.model_tar import tar
from spezia.contract.advice import Change, StudyClone
from spezia.contract.failure import Failure
from spezia.contract.objectives import Objective
from spezia.contract.plot import Figure
from spezia.contract.study import Best
from spezia.contract.trial import Trial, TrialList
from spezia.terminal.screen import Screen
from tests.service.replies import NOW, ScriptedService, make_best, make_study, make_trial_reply

TOY = "/v1/studies/toy"


@pytest.fixture
def service() -> ScriptedService:
    trials = [
        make_trial_reply(0),
        make_trial_reply(1, state="RUNNING", value=None, finished_at=None, params={"dropout": 0.1}),
        make_trial_reply(2, state="FAIL", value=None, failure=Failure(failure_class="diverged", message="NaN")),
    ]
    return ScriptedService(
        {
            "POST /v1/studies": make_study(),
            f"GET {TOY}": make_study(),
            f"GET {TOY}/best": make_best(),
            f"GET {TOY}/trials": TrialList(trials=list(trials), next_page_token=None),
            f"GET {TOY}/trials/0": trials[0],
        }
    )


@pytest.fixture
def study(service: ScriptedService) -> StudyHandle:
    client = Client("http://spezia.test", transport=service.transport(), sleep=lambda seconds: None)
    return client.create_study(make_study().spec)


def test_a_study_that_was_created_is_held(study: StudyHandle) -> None:
    assert repr(study) == "StudyHandle('toy')"
    assert study.info == make_study() == study.wait()
    assert study.best == make_best()
    assert [trial.number for trial in study.trials] == [0, 1, 2]
    assert study.trial(0) == make_trial_reply(0)


def test_a_study_is_found_again_or_refused(service: ScriptedService) -> None:
    client = Client("http://spezia.test", transport=service.transport())
    assert client.study("toy").name == "toy"
    with pytest.raises(SpeziaError, match="no such study"):
        client.study("none")


@pytest.mark.parametrize("verb", ["pause", "resume", "stop", "cancel"])
def test_a_study_is_steered(study: StudyHandle, service: ScriptedService, verb: str) -> None:
    service.answers[f"POST {TOY}/{verb}"] = make_study(state="stopping")
    assert getattr(study, verb)().state == "stopping"


def test_a_study_is_extended_added_to_and_deleted(study: StudyHandle, service: ScriptedService) -> None:
    service.answers[f"PATCH {TOY}"] = make_study(state="running")
    service.answers[f"POST {TOY}/trials"] = make_trial_reply(3)
    service.answers[f"DELETE {TOY}"] = httpx2.Response(204)
    assert study.extend(StudyChange(n_trials=30)).state == "running"
    assert study.enqueue({"learning_rate": 1e-4}).number == 3
    study.delete()
    assert service.paths()[-3:] == [f"PATCH {TOY}", f"POST {TOY}/trials", f"DELETE {TOY}"]


def test_a_study_is_cloned(study: StudyHandle, service: ScriptedService) -> None:
    service.answers[f"POST {TOY}/clone"] = make_study(name="toys")
    assert study.clone("toys", [Change(field="n_trials", value=40)]).name == "toys"
    sent = StudyClone.model_validate_json(service.requests[-1].content)
    assert sent == StudyClone(name="toys", changes=[Change(field="n_trials", value=40)])


def test_the_best_model_is_a_folder_of_the_studys_name(
    study: StudyHandle, service: ScriptedService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("{}")
    content = b"".join(tar({"config.json": tmp_path / "file"}, "toy"))
    service.answers[f"GET {TOY}/best/model"] = httpx2.Response(200, content=content)
    assert (study.best_model() / "config.json").read_text() == "{}"
    assert study.best_model("elsewhere") == Path("elsewhere")


def test_waiting_may_show_progress(
    study: StudyHandle, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(study_handle.terminal, "Screen", lambda: Screen(file=screen, width=100), raising=False)
    polls = iter([make_study(state="running", warnings=["a warning"]), make_study()])
    service.answers[f"GET {TOY}"] = lambda request: next(polls)
    assert study.wait(progress=True).state == "complete"
    assert "note: a warning" in screen.getvalue()


def test_trials_are_a_table_with_optunas_columns(study: StudyHandle) -> None:
    frame = study.trials_dataframe()
    assert list(frame.columns) == [
        "number",
        "value",
        "datetime_start",
        "datetime_complete",
        "duration",
        "params_batch_size",
        "params_dropout",
        "params_learning_rate",
        "user_attrs_step",
        "user_attrs_epoch",
        "user_attrs_baseline",
        "user_attrs_failure",
        "state",
    ]
    assert frame["state"].tolist() == ["COMPLETE", "RUNNING", "FAIL"]
    assert frame["value"].isna().tolist() == [False, True, True]
    assert frame["datetime_start"][0] == NOW
    assert frame["duration"].dt.total_seconds().isna().tolist() == [False, True, False]
    assert frame["user_attrs_failure"][2] == "diverged"


def test_several_objectives_have_a_column_each(study: StudyHandle, service: ScriptedService) -> None:
    trial = make_trial_reply(0, values={"accuracy": 0.9, "device_seconds": 3.0})
    service.answers[f"GET {TOY}/trials"] = TrialList(trials=[trial], next_page_token=None)
    assert several_objectives(study, service) == [[0.9, 3.0]]


def several_objectives(study: StudyHandle, service: ScriptedService) -> list[list[float]]:
    info = make_study()
    spec = info.spec.model_copy(
        update={"objective": [Objective(metric="accuracy"), Objective(metric="device_seconds")]}
    )
    service.answers[f"GET {TOY}"] = info.model_copy(update={"spec": spec})
    frame = study.trials_dataframe()
    assert list(frame.columns)[:4] == ["number", "values_accuracy", "values_device_seconds", "datetime_start"]
    values: list[list[float]] = frame[["values_accuracy", "values_device_seconds"]].to_numpy().tolist()
    return values


@pytest.mark.parametrize("trials", [[], [make_trial_reply(0, state="FAIL", value=None)]])
def test_a_study_without_a_value_has_the_same_columns(
    study: StudyHandle, service: ScriptedService, trials: list[Trial]
) -> None:
    service.answers[f"GET {TOY}/trials"] = TrialList(trials=trials, next_page_token=None)
    frame = study.trials_dataframe()
    assert [frame["value"].dtype, frame["datetime_start"].dtype.kind, len(frame)] == ["float64", "M", len(trials)]
    assert len(several_objectives(study, service)) == len(trials)


def test_a_plot_is_a_figure_of_plotly(study: StudyHandle, service: ScriptedService) -> None:
    drawn = Figure(data=[{"type": "scatter", "x": [0, 1], "y": [0.5, 0.25]}], layout={"title": {"text": "History"}})
    service.answers[f"GET {TOY}/plots/history"] = drawn
    shown = study.plot("history", "accuracy")
    assert shown.data[0].type == "scatter"
    assert shown.layout.title.text == "History"
    assert service.requests[-1].url.params["objective"] == "accuracy"


def test_without_plotly_the_error_says_how_to_get_it(
    study: StudyHandle, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answers[f"GET {TOY}/plots/history"] = Figure(data=[], layout={})
    monkeypatch.setattr(figure, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'spezia\[notebook\]'"):
        study.plot("history")


def test_without_pandas_the_error_says_how_to_get_it(study: StudyHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials_dataframe, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'spezia\[notebook\]'"):
        study.trials_dataframe()


def test_a_client_without_an_address_finds_the_service_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: ScriptedService
) -> None:
    asked: list[str] = []

    def note(request: httpx2.Request) -> Any:
        asked.append(f"{request.url.scheme}://{request.url.netloc.decode()}")
        return make_study()

    service.answers[f"GET {TOY}"] = note
    monkeypatch.setenv("SPEZIA_HOME", str(tmp_path))
    monkeypatch.delenv("SPEZIA_SERVER", raising=False)
    with hold(tmp_path) as held:
        held.announce("http://127.0.0.1:4321", "sqlite:///x")
        Client(transport=service.transport()).get_study("toy")
    monkeypatch.setenv("SPEZIA_SERVER", "http://elsewhere.test:80")
    Client(transport=service.transport()).get_study("toy")
    assert asked[0] == "http://127.0.0.1:4321"
    assert asked[1].startswith("http://elsewhere.test")


def test_a_study_at_the_end_of_a_cell_fills_one_line() -> None:
    study = make_study(best=Best(number=1, value=0.5))
    assert repr(study) == "Study(name='toy', state='complete', n_finished=20, best=Best(number=1, value=0.5))"
