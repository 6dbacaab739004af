"""`spezia init`: from a table of one's own to a study file that runs."""

import gzip
import json
import resource
import shlex
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from typer.testing import CliRunner, Result

from service.lifecycle.studies.validate_study import validate_study
from spezia.cli.main import app
from spezia.cli.study_file import load_study_file
from spezia.cli.write_study import NewStudy, quoted, study_text
from spezia.common import extras
from spezia.contract.study_spec import StudySpec
from tests.spezia.common.test_guess_columns import CASES, TEXTS, cycle, lines, table


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "reviews").mkdir()
    monkeypatch.chdir(tmp_path / "reviews")
    return tmp_path / "reviews"


def spezia_init(*arguments: str, answers: str | None = None) -> Result:
    return CliRunner().invoke(app, ["init", *arguments], input=answers)


def written(name: str = "study.yaml") -> StudySpec:
    return load_study_file(Path(name))


KINDS = ["sentiment", "German, with semicolons", "pairs of SNLI", "several classes between bars", "fractions", "images"]


@pytest.mark.parametrize("name", [*KINDS, "names of CoNLL", "Alpaca", "conversations"])
def test_a_study_that_a_service_accepts_without_a_warning_is_written(name: str, folder: Path) -> None:
    content, task, columns = CASES[name]
    file = "train.jsonl" if content.startswith(b"{") else "train.csv"
    (folder / file).write_bytes(content)
    result = spezia_init(file)
    assert result.exit_code == 0, result.output
    spec = written()
    assert spec.data is not None
    assert (spec.name, spec.task, spec.data.train) == ("reviews", task, str(folder / file))
    assert spec.data.columns == columns
    assert validate_study(spec).warnings == []
    assert "next: spezia run study.yaml" in result.stdout


def test_the_reasons_are_shown_and_written(folder: Path) -> None:
    (folder / "my talks.csv").write_bytes(CASES["banking77"][0])
    result = spezia_init("my talks.csv")
    assert "my talks.csv: 40 rows of 2 columns" in result.stdout
    assert "label  'category'  (sure: it holds 3 different short values in 40 rows" in result.stdout
    text = Path("study.yaml").read_text()
    assert "# label: it holds 3 different short values" in text
    assert "./my talks.csv" in text
    assert written().name == "my-talks"


def test_each_field_is_explained_in_the_words_of_the_contract(folder: Path) -> None:
    (folder / "train.csv").write_bytes(CASES["sentiment"][0])
    spezia_init("train.csv")
    text = Path("study.yaml").read_text()
    comments = " ".join(line.strip().removeprefix("# ") for line in text.splitlines() if line.strip().startswith("#"))
    for field in YAML(typ="safe").load(text):
        description = StudySpec.descriptions()[field]
        assert " ".join(description.replace("``", "`").split()) in comments


def test_flags_come_before_guesses(folder: Path) -> None:
    content = table(body=TEXTS, stars=cycle(1, 2, 3), shop=cycle("here", "there"))
    (folder / "train.csv").write_bytes(content)
    (folder / "test.csv").write_bytes(content)
    flags = ["--text", "body", "--label", "stars", "--task", "text-regression", "--model", "bert-base-uncased"]
    result = spezia_init(
        "train.csv", *flags, "--preset", "encoder-lora", "--test", "test.csv", "--output", "other.yaml"
    )
    assert result.exit_code == 0, result.output
    spec = written("other.yaml")
    assert spec.data is not None
    assert spec.model is not None
    assert (spec.task, spec.data.columns) == ("text-regression", {"text": "body", "label": "stars"})
    assert (spec.model.name, spec.preset, spec.data.test) == (
        "bert-base-uncased",
        "encoder-lora",
        str(folder / "test.csv"),
    )


def test_a_column_that_is_given_decides_the_task(folder: Path) -> None:
    columns = {
        "premise": TEXTS,
        "hypothesis": TEXTS,
        "shop": cycle("here", "there"),
        "price": [n / 8 for n in range(40)],
    }
    (folder / "train.csv").write_bytes(table(**columns))
    assert spezia_init("train.csv", "--label", "price", "--text", "hypothesis").exit_code == 0
    spec = written()
    assert spec.data is not None
    assert (spec.task, spec.data.columns) == ("text-regression", {"text": "hypothesis", "label": "price"})


def test_columns_of_any_task_are_given_by_name(folder: Path) -> None:
    (folder / "train.jsonl").write_bytes(lines(a=TEXTS, b=TEXTS, c=cycle("x", "y")))
    columns = ["--column", "prompt=a", "--column", "completion=b"]
    assert spezia_init("train.jsonl", "--task", "causal-lm", *columns).exit_code == 0
    spec = written()
    assert spec.data is not None
    assert spec.data.columns == {"prompt": "a", "completion": "b"}


def test_a_study_file_is_not_overwritten_unasked(folder: Path) -> None:
    (folder / "train.csv").write_bytes(CASES["sentiment"][0])
    Path("study.yaml").write_text("mine")
    refused = spezia_init("train.csv")
    assert (refused.exit_code, Path("study.yaml").read_text()) == (1, "mine")
    assert "--force overwrites it" in refused.stderr
    assert spezia_init("train.csv", "--force").exit_code == 0
    assert written().task == "text-classification"


@pytest.mark.parametrize("before", [None, "mine"])
def test_a_disk_that_is_full_leaves_no_half_of_a_study(folder: Path, before: str | None) -> None:
    (folder / "train.csv").write_bytes(CASES["sentiment"][0])
    if before is not None:
        Path("study.yaml").write_text(before)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        refused = spezia_init("train.csv", "--force")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refused.exit_code == 1
    assert refused.stderr == "spezia: study.yaml cannot be written: File too large; --output NAME writes elsewhere\n"
    assert {each.name: each.read_text() for each in folder.glob("*study*")} == (
        {"study.yaml": before} if before else {}
    )


def test_the_next_command_can_be_copied_into_a_shell(folder: Path) -> None:
    elsewhere = folder.parent / "the owner's (old) reviews"
    elsewhere.mkdir()
    (elsewhere / "train.csv").write_bytes(CASES["sentiment"][0])
    result = spezia_init(str(elsewhere / "train.csv"), "--output", "my study.yaml")
    command = result.stdout.splitlines()[-1].partition("next: ")[2]
    assert shlex.split(command) == ["spezia", "run", "my study.yaml", "--data-root", str(elsewhere)]


def test_a_table_of_names_alone_is_refused_whatever_is_given(folder: Path) -> None:
    (folder / "train.csv").write_bytes(CASES["sentiment"][0])
    (folder / "empty.csv").write_text("text,label\n")
    for arguments in (["empty.csv", "--text", "text", "--label", "label"], ["train.csv", "--test", "empty.csv"]):
        refused = spezia_init(*arguments)
        assert (refused.exit_code, Path("study.yaml").exists()) == (1, False)
        assert "empty.csv holds names of columns and no row; give a file of examples" in refused.stderr


def test_a_name_of_several_columns_is_to_be_changed(folder: Path) -> None:
    rows = "".join(f'"{text}","{text}",{n % 2}\n' for n, text in enumerate(TEXTS))
    (folder / "train.csv").write_text(f"text,text,label\n{rows}")
    assert "'text' names several columns, rename all but one" in spezia_init("train.csv").stderr
    given = spezia_init("train.csv", "--task", "text-classification", "--text", "text", "--label", "label")
    assert given.stderr == "spezia: train.csv has several columns of the name 'text'; rename all but one\n"


def test_a_person_is_asked_on_a_terminal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spezia.cli.init.is_terminal", lambda: True)
    content = table(text=TEXTS, stars=cycle(1, 2, 3), rating=cycle(4, 5))
    (folder / "train.csv").write_bytes(content)
    (folder / "held-out.csv").write_bytes(content)
    answers = "chess\ntext-regression\n\nnone\nrating\nmy/model\nheld-out.csv\n"
    result = spezia_init("train.csv", answers=answers)
    assert result.exit_code == 0, result.output
    spec = written()
    assert spec.data is not None
    assert spec.model is not None
    assert (spec.task, spec.data.columns["label"], spec.model.name) == ("text-regression", "rating", "my/model")
    assert spec.data.test == str(folder / "held-out.csv")
    assert spezia_init("train.csv", "--yes", "--force").exit_code == 0


@pytest.mark.parametrize(
    ("name", "content", "arguments", "message"),
    [
        ("none.csv", None, [], "No such file"),
        ("folder.csv", "folder", [], "is a folder; name one CSV or JSONL file"),
        ("empty.csv", b"", [], "empty.csv is empty"),
        ("binary.csv", b"\x7fELF\0\0", [], "is binary"),
        ("prose.csv", b"Once upon a time\nthere was\n", [], "one column only, 'Once upon a time'"),
        ("ragged.csv", b"text,label\nwell, then,good\n", [], "row 1 has 3 values"),
        ("train.json", b"[]", [], "call it .jsonl"),
        ("train.txt", b"a,b\n", [], "unknown suffix '.txt'"),
        ("train.parquet", b"PAR1", [], "is not a readable Parquet file"),
        ("broken.csv.gz", b"\x1f\x8b\x08", [], "cannot be unpacked"),
        ("numbers.csv", b"a,b\n1,2\n3,4\n", [], "fit no task ('a': label, 'b': label)"),
        ("t.csv", CASES["sentiment"][0], ["--task", "text-clasification"], "did you mean 'text-classification'?"),
        ("t.csv", CASES["sentiment"][0], ["--label", "lable"], "has no column 'lable', only 'text', 'label'"),
        ("t.csv", CASES["sentiment"][0], ["--column", "tags"], "write FIELD=NAME"),
        ("t.csv", CASES["sentiment"][0], ["--column", "tags=label"], "text-classification has no column tags"),
        ("t.csv", CASES["sentiment"][0], ["--task", "token-classification"], "needs the columns tokens and tags"),
        ("t.csv", CASES["sentiment"][0], ["--test", "none.csv"], "No such file"),
        ("t.csv", CASES["sentiment"][0], ["--output", "none/study.yaml"], "No such file"),
    ],
)
def test_what_cannot_become_a_study_is_refused_in_one_line(
    folder: Path, name: str, content: bytes | str | None, arguments: list[str], message: str
) -> None:
    if isinstance(content, str):
        (folder / name).mkdir()
    elif content is not None:
        (folder / name).write_bytes(content)
    result = spezia_init(name, *arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.startswith("spezia: ")
    assert result.stderr.count("\n") == 1
    assert not Path("study.yaml").exists()


def test_a_test_file_has_the_columns_of_the_training_file(folder: Path) -> None:
    (folder / "train.csv").write_bytes(CASES["sentiment"][0])
    (folder / "test.csv").write_bytes(CASES["banking77"][0])
    assert (
        "test.csv has no column 'label', only 'text', 'category'"
        in spezia_init("train.csv", "--test", "test.csv").stderr
    )


def test_a_parquet_file_is_read_by_a_process_of_its_own(folder: Path) -> None:
    texts = [f"what a film that was {number}" for number in range(30_000)]
    table = pyarrow.table({"review": texts, "stars": [number % 3 for number in range(30_000)]})
    pyarrow.parquet.write_table(table, folder / "films.parquet")
    result = spezia_init("films.parquet")
    assert result.exit_code == 0, result.output
    assert "films.parquet: 30,000 rows of 2 columns" in result.stdout
    spec = written()
    assert spec.data is not None
    assert (spec.preset, spec.data.columns) == ("encoder-large-data", {"text": "review", "label": "stars"})


def test_without_what_reads_parquet_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "TRAINER_MODULES", ("no_such_module",))
    (folder / "films.parquet").touch()
    result = spezia_init("films.parquet")
    assert result.exit_code == extras.MISSING_EXTRA
    assert (
        "reading Parquet needs no_such_module, which is not installed: pip install 'spezia[trainer]'" in result.stderr
    )


def test_what_was_written_is_said_as_json_and_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "train.csv").write_bytes(CASES["sentiment"][0])
    monkeypatch.setattr("spezia.cli.init.is_terminal", lambda: True)
    said = json.loads(spezia_init("train.csv", "--json").stdout)
    spec = written()
    assert spec.model is not None
    assert said == {
        "file": "study.yaml", "name": spec.name, "task": spec.task, "columns": {"text": "text", "label": "label"},
        "model": spec.model.name, "preset": spec.preset, "next_command": "spezia run study.yaml",
    }  # fmt: skip


def test_an_archive_is_read_as_the_file_in_it(folder: Path) -> None:
    content = b"text,label\n" + b"".join(b"what a film that was %d,%d\n" % (n, n % 2) for n in range(8000))
    (folder / "films.csv.gz").write_bytes(gzip.compress(content, mtime=0))
    result = spezia_init("films.csv.gz")
    assert result.exit_code == 0, result.output
    assert written().preset == "encoder-large-data"
    n_rows = int(result.stdout.split("about ")[1].split(" rows")[0].replace(",", ""))
    assert n_rows == pytest.approx(8000, rel=0.05)


def test_data_elsewhere_are_named_whole_and_their_folder_is_allowed(folder: Path) -> None:
    data = folder.parent / "data" / "films.csv"
    data.parent.mkdir()
    data.write_bytes(CASES["sentiment"][0])
    result = spezia_init("../data/films.csv")
    spec = written()
    assert spec.data is not None
    assert spec.data.train == str(data)
    assert f"next: spezia run study.yaml --data-root {data.parent}" in result.stdout


def test_names_of_columns_are_no_escapes_in_a_terminal(folder: Path) -> None:
    (folder / "train.csv").write_bytes(table(**{"\x1b[31mtext": TEXTS, "[bold]label": cycle("a", "b")}))
    result = spezia_init("train.csv")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert "[bold]label" in result.stdout
    spec = written()
    assert spec.data is not None
    assert spec.data.columns == {"text": "\x1b[31mtext", "label": "[bold]label"}


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_any_text_is_read_back_from_yaml(text: str) -> None:
    assert YAML(typ="safe", pure=True).load(f"{{one: {quoted(text)}, two: 2}}") == {"one": text, "two": 2}


def test_a_file_whose_name_means_something_else_is_named_as_a_file(tmp_path: Path) -> None:
    study = NewStudy(
        name="a",
        task="causal-lm",
        columns={"text": "t"},
        train=tmp_path / "sha256:abc.csv",
        model="m",
        preset="causal-lm-lora",
    )
    (tmp_path / "study.yaml").write_text(study_text(study, tmp_path / "study.yaml"))
    spec = load_study_file(tmp_path / "study.yaml")
    assert spec.data is not None
    assert spec.data.train == str(tmp_path / "sha256:abc.csv")
