"""The documentation tells the truth: its links, settings and trees, its commands, its fragments of studies."""

import re
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path

import httpx2
import pytest
from ruamel.yaml import YAML
from typer.main import get_command

import spezia
from service.settings import Settings
from spezia import Client, StudySpec
from spezia.cli.main import app
from spezia.cli.study_file import load_study_file
from spezia.common.model_tar import tar
from spezia.contract.tasks import TASKS, Task
from spezia.contract.trial import TrialList
from tests.documents import BLOCKS, EXECUTED, PAGES, Block
from tests.service.replies import ScriptedService, make_best, make_study
from tests.service.search.builders import make_spec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
NEEDS = ("docker", "cluster", "root", "gpu", "hub")
"""What a block of a page may need that a test does not have."""


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_setting_has_its_place_on_the_page_of_settings(field: str) -> None:
    assert f"`SPEZIA_{field.upper()}`" in SETTINGS


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", (ROOT / page).read_text())
    places = [((ROOT / page).parent / target if target else ROOT / page, heading) for target, heading in links]
    assert [str(place) for place, _ in places if not place.exists()] == []
    assert [f"{place}#{heading}" for place, heading in places if heading and heading not in _headings(place)] == []


def _headings(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/") and "decisions/0" not in page])
def test_the_readme_leads_to_every_page(page: str) -> None:
    assert f"]({page})" in README


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?<=spezia )(?!import )(\w+)(?= )", README))))
def test_every_command_exists(command: str) -> None:
    assert command in get_command(app).commands


def test_python_and_curl_post_the_same_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.json"
    config.write_text("{}")
    answers = {
        "POST /v1/studies": make_study(spec=make_spec(name="intents")),
        "GET /v1/studies/intents": make_study(spec=make_spec(name="intents")),
        "GET /v1/studies/intents/trials": TrialList(trials=[], next_page_token=None),
        "GET /v1/studies/intents/best": make_best(),
        "GET /v1/studies/intents/best/model": httpx2.Response(
            200, content=b"".join(tar({"config.json": config}, "intents"))
        ),
    }
    service = ScriptedService(answers)
    monkeypatch.setattr(spezia, "Client", lambda: Client("http://spezia.test", transport=service.transport()))
    monkeypatch.chdir(tmp_path)
    program = next(block.text for block in BLOCKS if block.page == "docs/python.md" and block.language == "python")
    exec(program, {})
    [document] = re.findall(r" -d '(.*?)'\n", README, re.DOTALL)
    assert StudySpec.model_validate_json(service.requests[0].content) == StudySpec.model_validate_json(document)
    assert (tmp_path / "intents" / "config.json").read_text() == "{}"


NAMED_FILES = sorted(
    set(
        re.findall(
            r"(?:spezia|service|trainer|migrations|tests|benchmarks)/[\w./]*", (ROOT / "pyproject.toml").read_text()
        )
    )
)


@pytest.mark.parametrize("name", NAMED_FILES)
def test_every_file_for_which_a_package_is_needed_exists(name: str) -> None:
    assert (ROOT / name).exists()


NAMED_TESTS = sorted(
    {
        named
        for page in ("security.md", "data-and-models.md")
        for named in re.findall(r"`(tests/\S+\.py)::(\w+)`", (ROOT / "docs" / page).read_text())
    }
)


@pytest.mark.parametrize(("file", "test"), NAMED_TESTS)
def test_every_test_that_a_page_names_exists(file: str, test: str) -> None:
    assert f"\ndef {test}(" in (ROOT / file).read_text()


def test_every_case_of_data_and_models_names_its_test() -> None:
    page = (ROOT / "docs" / "data-and-models.md").read_text()
    written_by_hand = re.sub(r"<!-- written by .*<!-- end -->", "", page, flags=re.DOTALL)
    rows = re.findall(r"^\| (?!case).*\|$", written_by_hand, flags=re.MULTILINE)
    assert len(rows) > 15
    assert [row for row in rows if not re.search(r"\| `tests/\S+::\w+` \|$", row)] == []


def test_the_security_page_answers_all_ten_each_with_a_test() -> None:
    answers = re.split(r"\n### (API\d+) ", (ROOT / "docs" / "security.md").read_text())[1:]
    assert answers[::2] == [f"API{number}" for number in range(1, 11)]
    assert all("`tests/" in answer for answer in answers[1::2])


TASK_ROWS = re.findall(r"^\|.*\|$", (ROOT / "docs" / "tasks.md").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("task", [task for task in TASKS if task != "script"])
def test_the_page_of_tasks_names_every_column_and_metric(task: Task) -> None:
    # the rows of a task: its own, and those below that begin "the same"
    start = next(index for index, row in enumerate(TASK_ROWS) if row.startswith(f"| `{task}`"))
    rows = [TASK_ROWS[start], *takewhile(lambda row: row.startswith("| the same"), TASK_ROWS[start + 1 :])]
    columns, metrics = zip(*(row.split("|")[2:4] for row in rows), strict=True)
    known = TASKS[task]
    assert set(re.findall(r"`(\w+)`", " ".join(columns))) == {name for names in known.columns for name in names}
    assert set(re.findall(r"`(\w+)`", " ".join(metrics))) == set(known.metrics)


GLOSSARY = (ROOT / "docs" / "glossary.md").read_text().split("|---|---|---|\n")[1].splitlines()


@pytest.mark.parametrize("row", GLOSSARY)
def test_every_term_is_one_sentence_and_names_a_file_that_exists(row: str) -> None:
    found = re.fullmatch(r"\| \*\*(?P<term>[^*]+)\*\* \| [A-Z].*\. \| \[(?P<file>\S+)\]\(\.\./(?P=file)\) \|", row)
    assert found, row
    assert (ROOT / found["file"]).exists(), (
        f"{found['term']}: {found['file']} is gone; name the file where it lives now"
    )


def test_the_glossary_is_alphabetical_and_has_each_term_once() -> None:
    terms = [row.split("**")[1].casefold() for row in GLOSSARY]
    assert terms == sorted(set(terms))


GUIDES = ("CONTRIBUTING.md", "docs/architecture.md", "docs/decisions/README.md")
NAMED_FILES = sorted(
    {
        (guide, name)
        for guide in GUIDES
        for name in re.findall(
            r"`((?:spezia|service|trainer|migrations|tests|docs)/[\w./-]+\.(?:py|md|json))`", (ROOT / guide).read_text()
        )
    }
)


@pytest.mark.parametrize(("guide", "name"), NAMED_FILES)
def test_every_file_that_a_guide_names_exists(guide: str, name: str) -> None:
    assert (ROOT / name).exists()


def test_every_file_in_the_picture_of_a_trials_way_exists() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text().partition("```mermaid")[2].partition("```")[0]
    named = set(re.findall(r"[\w/]+\.py", picture))
    paths = {str(path.relative_to(ROOT)) for folder in ("service", "trainer") for path in (ROOT / folder).rglob("*.py")}
    assert len(named) > 15
    assert [name for name in sorted(named) if not any(f"/{path}".endswith(f"/{name}") for path in paths)] == []


def test_every_decision_is_listed_under_its_own_number() -> None:
    listed = re.findall(r"\[(\d{4})\]\((\d{4})-\S+\.md\)", (ROOT / "docs" / "decisions" / "README.md").read_text())
    pages = {path.name[:4]: path.read_text() for path in (ROOT / "docs" / "decisions").glob("0*.md")}
    assert [number for number, _ in listed] == sorted(pages)
    assert all(number == of_file for number, of_file in listed)
    assert [number for number, page in pages.items() if not page.startswith(f"# {number}: ")] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_its_language_and_what_it_needs_in_known_words(page: str) -> None:
    blocks = [block for block in BLOCKS if block.page == page]
    known = {*EXECUTED, "yaml", "json", "mermaid", "text"}
    assert [
        f"{block.place}: {block.language or 'no language'}" for block in blocks if block.language not in known
    ] == []
    needs = [block for block in blocks if block.needs is not None]
    assert [f"{block.place}: {block.needs}" for block in needs if block.needs not in NEEDS] == []
    comments = re.findall("<!-- needs", (ROOT / page).read_text())
    assert len(comments) == len(needs), "the comment stands on the line before its block"


def _is_of_a_study(block: Block) -> bool:
    """Whether a fragment has a field of a study, perhaps misspelt."""
    document = YAML(typ="safe", pure=True).load(block.text)
    return any(get_close_matches(name, StudySpec.model_fields, cutoff=0.8) for name in document)


FRAGMENTS = {block.place: block for block in BLOCKS if block.language in ("yaml", "json") and _is_of_a_study(block)}
TEXTS = {"task": "text-classification", "model": "model", "data": "train.csv"}
RATE = {"search_space": {"learning_rate": {"low": 1e-5, "high": 1e-3}}}


@pytest.mark.parametrize("place", FRAGMENTS)
def test_every_fragment_of_a_study_is_valid(place: str, tmp_path: Path) -> None:
    yaml = YAML(typ="safe", pure=True)
    fragment = yaml.load(FRAGMENTS[place].text)
    study = tmp_path / "study.yaml"
    yaml.dump((TEXTS if fragment.get("task") in (None, TEXTS["task"]) else {}) | RATE | fragment, study)
    load_study_file(study)
