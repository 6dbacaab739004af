from pathlib import Path

import pytest

from spezia.cli.study_file import StudyFileError, load_study_file
from spezia.contract.ranges import FloatRange

STUDY = """\
name: feedback
task: text-classification
model: {name: tiny}
data:
  train: train.csv
  validation: hub://owner/name#validation
  test: /elsewhere/test.csv
search_space:
  learning_rate: {type: float, low: 1e-6, high: 1e-3, log: true}
  epochs:
    type: int
    low: 1
    high: 5
"""


def write(folder: Path, text: str, name: str = "study.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_numbers_are_yaml_1_2(tmp_path: Path) -> None:
    spec = load_study_file(write(tmp_path, STUDY))
    assert spec.search_space["learning_rate"] == FloatRange(type="float", low=1e-6, high=1e-3, log=True)


def test_no_is_a_string(tmp_path: Path) -> None:
    with_columns = STUDY.replace("data:\n", "data:\n  columns: {text: no, label: on}\n")
    assert load_study_file(write(tmp_path, with_columns)).data.columns == {"text": "no", "label": "on"}


def test_relative_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", STUDY)
    monkeypatch.chdir(tmp_path)
    spec = load_study_file(Path("sub/study.yaml"))
    assert spec.data.train == str(tmp_path / "sub" / "train.csv")
    assert spec.data.validation == "hub://owner/name#validation"
    assert spec.data.test == "/elsewhere/test.csv"


def test_a_script_is_relative_to_the_file_too(tmp_path: Path) -> None:
    text = "task: script\nscript: trees.py\nsearch_space:\n  depth: {type: int, low: 1, high: 5}\n"
    assert load_study_file(write(tmp_path, text)).script == str(tmp_path / "trees.py")


def test_a_model_is_a_folder_only_when_it_exists(tmp_path: Path) -> None:
    path = write(tmp_path, STUDY)
    assert load_study_file(path).model.name == "tiny"
    (tmp_path / "tiny").mkdir()
    assert load_study_file(path).model.name == str(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("file", "name"),
    [("Intents 2.yaml", "intents-2"), (f"{'x' * 70}.yaml", "x" * 64), ("_.yaml", "study"), ("Ä-ö_1.yml", "1")],
)
def test_a_study_without_a_name_is_named_after_its_file(tmp_path: Path, file: str, name: str) -> None:
    assert load_study_file(write(tmp_path, STUDY.replace("name: feedback\n", ""), file)).name == name
    assert load_study_file(write(tmp_path, STUDY, file)).name == "feedback"


def test_json_is_read_too(tmp_path: Path) -> None:
    from_yaml = load_study_file(write(tmp_path, STUDY))
    from_json = load_study_file(write(tmp_path, from_yaml.model_dump_json(indent=2), "study.json"))
    assert from_json == from_yaml


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("low: 1\n", "low: 9\n", "study.yaml:12: search_space.epochs.low: low 9 lies above high 5; swap them"),
        ("type: int", "type: itn", "study.yaml:10: search_space.epochs: unknown type 'itn'; write "),
        ("epochs:", "epoch:", "search_space.epoch: unknown hyperparameter; did you mean 'epochs'?"),
        ("name: feedback", "nam: feedback", "study.yaml:1: nam: unknown field; did you mean 'name'?"),
        ("  train: train.csv\n", "", "study.yaml:4: data.train: is missing; give it"),
        ("name: feedback", "name: Feedback", "study.yaml:1: name: has characters that it may not have"),
        ("task: text", "task: [text", "study.yaml:"),
        (
            "search_space:",
            "objective: [{metric: accuracy}, {metric: acuracy}]\nsearch_space:",
            "study.yaml:8: objective[1].metric: unknown",
        ),
        ("task:", "name: again\ntask:", 'study.yaml:2:1: found duplicate key "name"'),
    ],
)
def test_errors_name_file_line_field_and_reason(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in STUDY
    path = write(tmp_path, STUDY.replace(old, new, 1))
    with pytest.raises(StudyFileError) as caught:
        load_study_file(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("fixed: " + "[" * 2_000 + "]" * 2_000, "lists or mappings are nested too deeply for a study"),
        ("baseline: !!bool x", ":14:11: 'x' is no bool; put it in quotes, or drop its tag"),
        ("seed: !!int x", ":14:7: 'x' is no int; put it in quotes"),
        ("fixed: [1, 2024-13-45]", ":14:12: '2024-13-45' is no timestamp; put it in quotes"),
        ("---\nname: b", ":14:1: expected a single document in the stream, but found another"),
        ("1: 2", "is no text, as names are; put it in quotes"),
        ("~: 2", "is no text, as names are; put it in quotes"),
        ("2026-11-26: 2", "is no text, as names are; put it in quotes"),
        ("preset: 2026-11-26", ": preset: must be a text; put it in quotes"),
        ("preset: 7", ": preset: must be a text; put it in quotes"),
    ],
)
def test_what_yaml_can_say_and_a_study_cannot_is_refused_in_words(tmp_path: Path, added: str, expected: str) -> None:
    with pytest.raises(StudyFileError) as caught:
        load_study_file(write(tmp_path, f"{STUDY}{added}\n"))
    assert expected in str(caught.value)


def test_a_decimal_comma_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, f"{STUDY}  dropout: {{low: 0,1, high: 0,5}}\n")
    with pytest.raises(StudyFileError, match=r"write numbers with a point \(0\.5\), not a comma"):
        load_study_file(path)


@pytest.mark.parametrize("version", ["1.1", "1.3", "2.0"])
@pytest.mark.parametrize("before", ["", "# a study\n\n", "\ufeff"])
def test_a_file_of_another_yaml_is_not_misread(tmp_path: Path, version: str, before: str) -> None:
    path = write(tmp_path, f"{before}%YAML {version}\n---\n{STUDY}baseline: no\n")
    with pytest.raises(StudyFileError, match=f"YAML {version} is not read"):
        load_study_file(path)
    assert load_study_file(write(tmp_path, f"{before}%YAML 1.2\n---\n{STUDY}")).name == "feedback"


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ("direction: minimize", "direction: unknown field; write it as objective.direction"),
        ("mode: min", "mode: unknown field; write it as objective.direction"),
        ("train_file: t.csv", "train_file: unknown field; write it as data.train"),
        ("keep_models: 3", "keep_models: unknown field; write it as training.keep_models"),
        ("batch_size: 8", "search it as search_space.batch_size, or set it as fixed.batch_size"),
        ("training: {num_train_epochs: 3}", "search it as search_space.epochs, or set it as fixed.epochs"),
        ("sampler: {name: tpe, seed: 3}", "options belong inside: write options.seed"),
        ("sampler: TPESampler", "sampler: unknown name; here it is 'tpe'"),
        ("pruner: SuccessiveHalvingPruner", "pruner: unknown name; here it is 'successive-halving'"),
        ("  dropout: {value: 0.1}", 'a single value belongs in fixed: write {"dropout": 0.1} there'),
    ],
)
def test_what_is_in_the_wrong_place_is_told_its_own(tmp_path: Path, added: str, expected: str) -> None:
    with pytest.raises(StudyFileError) as caught:
        load_study_file(write(tmp_path, f"{STUDY}{added}\n"))
    assert expected in str(caught.value)


@pytest.mark.parametrize("ends", ["min: .nan, max: .inf", "min: true, max: 2", "min: -1e308, max: 1e308"])
def test_no_range_is_proposed_that_would_be_refused(tmp_path: Path, ends: str) -> None:
    path = write(tmp_path, f"{STUDY}  weight_decay: {{distribution: log_uniform, {ends}}}\n")
    with pytest.raises(StudyFileError) as caught:
        load_study_file(path)
    assert "NaN" not in str(caught.value)
    assert "Infinity" not in str(caught.value)


def test_what_a_service_would_not_take_is_refused_where_the_file_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, f"{STUDY}\nenqueue: [{'{}, ' * 1_001}]\n")
    with pytest.raises(StudyFileError, match="enqueue: 1001 params are listed to try first, more than 1000"):
        load_study_file(path)


@pytest.mark.parametrize("text", ["", "just words", "- a\n- list"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(StudyFileError, match="a study is a mapping"):
        load_study_file(write(tmp_path, text))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"none\.yaml: No such file"):
        load_study_file(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: größe".encode("latin-1"))
    with pytest.raises(StudyFileError, match="not UTF-8"):
        load_study_file(tmp_path / "latin.yaml")


SHORT = """\
task: text-classification
model: tiny
data: train.csv
objective: accuracy
sampler: random
pruner: median
search_space:
  learning_rate: {low: 1e-6, high: 1e-3, log: true}
  epochs: {low: 1, high: 5}
  batch_size: [8, 16]
  dropout: {choices: [0.0, 0.1]}
  lr_schedule: [linear, cosine]
"""


def test_shorthand_is_written_out(tmp_path: Path) -> None:
    spec = load_study_file(write(tmp_path, SHORT))
    assert (spec.model.name, spec.data.train) == ("tiny", str(tmp_path / "train.csv"))
    assert (spec.metric, spec.sampler.name, spec.pruner.name) == ("accuracy", "random", "median")
    kinds = {name: entry.type for name, entry in spec.search_space.items()}
    assert kinds == {
        "learning_rate": "float",
        "epochs": "int",
        "batch_size": "categorical",
        "dropout": "categorical",
        "lr_schedule": "categorical",
    }
    assert spec.search_space["batch_size"].choices == [8, 16]


def test_shorthand_of_several_objectives_and_ranges(tmp_path: Path) -> None:
    two = SHORT.replace("objective: accuracy", "objective: [accuracy, validation_loss]").replace("pruner: median\n", "")
    ranges = (
        "[{low: 1e-5, high: 1e-4, when: {lr_schedule: linear}}, {low: 1e-4, high: 1e-3, when: {lr_schedule: cosine}}]"
    )
    spec = load_study_file(write(tmp_path, two.replace("{low: 1e-6, high: 1e-3, log: true}", ranges)))
    assert [one.metric for one in spec.objectives] == ["accuracy", "validation_loss"]
    assert [one.type for one in spec.search_space["learning_rate"]] == ["float", "float"]


@pytest.mark.parametrize(("ends", "kind"), [("{low: 0.5, high: 1}", "float"), ("{low: 0, high: 1}", None)])
def test_range_of_a_script_is_written_out_where_its_type_is_certain(
    tmp_path: Path, ends: str, kind: str | None
) -> None:
    text = (
        f"task: script\nscript: a.py\nobjective: {{metric: r2, direction: maximize}}\nsearch_space:\n  size: {ends}\n"
    )
    path = write(tmp_path, text)
    if kind is not None:
        assert load_study_file(path).search_space["size"].type == kind
    else:
        with pytest.raises(StudyFileError, match="must be a range with a type; write"):
            load_study_file(path)


@pytest.mark.parametrize("home", ["~", "$HOME", "${HOME}"])
def test_home_is_the_persons_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    text = STUDY.replace("train.csv", f"{home}/train.csv", 1).replace("name: tiny", f"name: '{home}/tiny'")
    spec = load_study_file(write(tmp_path, text))
    assert spec.data.train == str(tmp_path / "me" / "train.csv")
    assert spec.model.name == str(tmp_path / "me" / "tiny")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "train: train.csv",
            "train: https://a.example/a.csv",
            "study.yaml:5: data.train: https://a.example/a.csv is a URL",
        ),
        ("train: train.csv", "train: s3://bucket/a.csv", "data.train: s3://bucket/a.csv is a URL"),
        ("name: tiny", "name: https://huggingface.co/a/b", "write a/b, the name on the hub"),
        ("name: tiny", "name: https://a.example/b", "model.name: https://a.example/b is a URL"),
        ("name: tiny", "name: ./tyni", "study.yaml:3: model.name: the folder"),
        ("name: tiny", "name: models/tyni", "tyni does not exist"),
        ("name: tiny", "name: a/b/c", "a/b/c does not exist"),
    ],
)
def test_path_that_cannot_be_meant_is_refused(tmp_path: Path, old: str, new: str, expected: str) -> None:
    (tmp_path / "models").mkdir()
    with pytest.raises(StudyFileError) as refused:
        load_study_file(write(tmp_path, STUDY.replace(old, new, 1)))
    assert expected in str(refused.value)


@pytest.mark.parametrize("name", ["owner/model", "tiny", "/models/elsewhere"])
def test_model_that_may_be_on_the_hub_or_elsewhere_is_left_to_the_worker(tmp_path: Path, name: str) -> None:
    assert load_study_file(write(tmp_path, STUDY.replace("name: tiny", f"name: {name}"))).model.name == name
