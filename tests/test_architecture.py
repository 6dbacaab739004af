"""Who may import whom, read off the source; and for each rule a planted violation that it must find.

A rule is a function from a `House` to the violations that it sees there, one line each.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import MappingProxyType

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("spezia", "service", "trainer", "migrations")

DOORS = {
    "alembic": ("service/store/", "migrations/"),
    "botocore": ("service/files/bucket_files.py",),
    "fastapi": ("service/app.py", "service/dependencies.py", "service/routes/", "service/web/"),
    "fsspec": ("service/files/bucket_files.py",),
    "httpx2": (
        "spezia/client/",
        "service/webhook_sender.py",
        "trainer/supervisor/client.py",
        "trainer/data/hub_errors.py",
    ),
    "jinja2": ("service/web/frame.py", "trainer/data/chat.py"),
    "limits": ("service/gate.py",),
    "optuna": ("service/search/", "service/store/", "service/optuna_private.py"),
    "prometheus_client": ("service/metrics.py",),
    "psycopg": (),  # SQLAlchemy imports it where the database is PostgreSQL; a service on SQLite has none
    "pysqlite3": ("service/store/sql/sqlite.py",),
    "ray": ("service/launch/ray_cluster.py",),
    "ruamel": ("spezia/cli/study_file.py",),
    "sqlalchemy": ("service/store/", "migrations/"),
    "sqlite3": ("service/store/sql/sqlite.py",),
    "starlette": ("service/app.py", "service/dependencies.py", "service/routes/", "service/web/"),
    "uvicorn": ("service/http_server.py", "service/http_protocol.py"),
}
"""Libraries that few may import, and who may."""

TRAINS = frozenset({"torch", "transformers", "datasets", "sklearn", "safetensors", "pyarrow", "peft"})
"""Libraries of the engine alone: slow to import, and the reason why a process may crash."""

LAYERS = ("service.store", "service.search", "service.lifecycle", "service.routes", "service.web")
"""Of the service, the lowest first."""


@dataclass(frozen=True)
class House:
    """Python files by their path below the root."""

    sources: Mapping[str, str]
    counts_lazy: bool = True
    """Whether a file imports what a `LazyModule` loads; it does not, where the question is what an import costs."""
    modules: Mapping[str, str] = field(init=False)
    """Paths by the names that modules are imported by."""

    def __post_init__(self) -> None:
        names = {path.removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in self.sources}
        object.__setattr__(self, "modules", MappingProxyType(names))

    def with_file(self, path: str, source: str) -> "House":
        return House({**self.sources, path: source})

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        return {path: parsed(source) for path, source in self.sources.items()}

    @cached_property
    def imports(self) -> dict[str, list[tuple[str, int]]]:
        """Imported modules with their lines, by path; ``from a import b`` is ``a.b`` where that is a module."""
        return {path: list(self._imports_of(tree)) for path, tree in self.trees.items()}

    def _imports_of(self, tree: ast.AST) -> Iterator[tuple[str, int]]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    yield (full if full in self.modules else node.module or "."), node.lineno
            elif (
                self.counts_lazy
                and isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "LazyModule"
            ):
                yield ast.literal_eval(node.args[0]), node.lineno

    def importing(self, is_forbidden: Callable[[str, str], bool]) -> list[str]:
        return [
            f"{path}:{line} imports {module}"
            for path, imported in self.imports.items()
            for module, line in imported
            if is_forbidden(path, module)
        ]

    def reachable(self, *modules: str) -> set[str]:
        """Modules of ours that importing ``modules`` imports, packages on the way included."""
        seen: set[str] = set()
        waiting = list(modules)
        while waiting:
            name = waiting.pop()
            if name and name not in seen:
                seen.add(name)
                waiting.append(name.rpartition(".")[0])
                waiting += [imported for imported, _ in self.imports.get(self.modules.get(name, ""), ())]
        return seen & set(self.modules)

    def libraries(self, *modules: str) -> set[str]:
        """What importing ``modules`` imports that is not ours, by its first name."""
        found = {module for name in self.reachable(*modules) for module, _ in self.imports[self.modules[name]]}
        return {module.split(".")[0] for module in found} - set(PACKAGES)


TREES: dict[str, ast.Module] = {}


def parsed(source: str) -> ast.Module:
    if source not in TREES:
        TREES[source] = ast.parse(source)
    return TREES[source]


def is_in(module: str, *packages: str) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def libraries_have_doors(house: House) -> list[str]:
    return house.importing(
        lambda path, module: (doors := DOORS.get(module.split(".")[0])) is not None and not path.startswith(doors)
    )


def spezia_imports_nothing_of_ours(house: House) -> list[str]:
    return house.importing(
        lambda path, module: path.startswith("spezia/") and is_in(module, "service", "trainer", "migrations")
    )


def importing_spezia_is_cheap(house: House) -> list[str]:
    allowed = {"pydantic", "pydantic_core", "httpx2", *sys.stdlib_module_names}
    # how a client finds its service, knows a bad key, packs a model, says what is missing; of the standard library
    names = ("", ".address_and_key", ".extras", ".home_lock", ".lazy_module", ".model_tar")
    common = {f"spezia.common{name}" for name in names}
    house = House(house.sources, counts_lazy=False)
    heavy = [f"import spezia loads {library}" for library in sorted(house.libraries("spezia") - allowed)]
    programs = [
        module
        for module in house.reachable("spezia") - common
        if is_in(module, "spezia.common", "spezia.cli", "spezia.terminal")
    ]
    return heavy + [f"import spezia loads {module}" for module in sorted(programs)]


def the_contract_needs_only_pydantic(house: House) -> list[str]:
    allowed = {"pydantic", "pydantic_core", *sys.stdlib_module_names}
    return house.importing(
        lambda path, module: (
            path.startswith("spezia/contract/")
            and not is_in(module, "spezia.contract")
            and module.split(".")[0] not in allowed
        )
    )


def service_and_trainer_do_not_know_each_other(house: House) -> list[str]:
    return house.importing(
        lambda path, module: (
            (path.startswith("service/") and is_in(module, "trainer"))
            or (path.startswith("trainer/") and is_in(module, "service", "migrations"))
        )
    )


def only_migrate_names_migrations(house: House) -> list[str]:
    return house.importing(
        lambda path, module: (
            (path.startswith("service/") and is_in(module, "migrations") and path != "service/store/sql/migrate.py")
            or (path.startswith("migrations/") and is_in(module, *PACKAGES) and not is_in(module, "service.store"))
        )
    )


def the_service_never_imports_torch(house: House) -> list[str]:
    return house.importing(lambda path, module: path.startswith("service/") and module.split(".")[0] in TRAINS)


def the_supervisor_never_imports_torch(house: House) -> list[str]:
    supervisor = [module for module in house.modules if is_in(module, "trainer.supervisor", "trainer.cli")]
    loaded = sorted(house.libraries(*supervisor) & TRAINS)
    return [f"the supervisor loads {library}" for library in loaded]


def training_knows_no_http_and_no_lease(house: House) -> list[str]:
    # data/hub_errors names what the hub's own library raises, which are errors of httpx2; spezia offers its client to
    # whoever imports anything of it
    loaded = {
        module
        for module in house.reachable("trainer.train.fine_tune") - {"trainer.data.hub_errors"}
        if not is_in(module, "spezia.client")
    }
    ours = [module for module in loaded if is_in(module, "trainer.supervisor", "trainer.messages", "trainer.engine")]
    libraries = {module.split(".")[0] for name in loaded for module, _ in house.imports[house.modules[name]]}
    return sorted(ours) + sorted(libraries & {"httpx2", "optuna", "fastapi", "sqlalchemy"})


def routes_reach_search_and_store_through_lifecycle(house: House) -> list[str]:
    # the types that `dependencies` hands over may be named
    named = ("service.store.store", "service.search.propose.proposer")
    return house.importing(
        lambda path, module: (
            path.startswith(("service/routes/", "service/web/"))
            and is_in(module, "service.store", "service.search")
            and module not in named
        )
    )


def layers_look_down_only(house: House) -> list[str]:
    def rank(module: str) -> int | None:
        return next((index for index, layer in enumerate(LAYERS) if is_in(module, layer)), None)

    def looks_up(path: str, module: str) -> bool:
        own, theirs = rank(module_of(path)), rank(module)
        return own is not None and theirs is not None and theirs > own

    return house.importing(looks_up)


def search_does_not_know_the_store(house: House) -> list[str]:
    return house.importing(lambda path, module: path.startswith("service/search/") and is_in(module, "service.store"))


def siblings_form_no_cycle(house: House) -> list[str]:
    """Folders of one folder, and the files beside them, import each other in one direction."""
    graphs: dict[str, dict[str, set[str]]] = {}
    for name, path in house.modules.items():
        for imported, _ in house.imports[path]:
            if imported not in house.modules or (is_in(name, "service.store") and is_in(imported, "migrations")):
                continue
            mine, theirs = name.split("."), imported.split(".")
            depth = next((i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), None)
            if depth is not None:
                graphs.setdefault("/".join(mine[:depth]), {}).setdefault(mine[depth], set()).add(theirs[depth])
    found = []
    for folder, graph in graphs.items():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as cycle:
            found.append(f"in {folder or 'the root'}: {' <- '.join(cycle.args[1])}")
    return found


def modules_form_no_cycle(house: House) -> list[str]:
    graph = {
        name: {imported for imported, _ in house.imports[path] if imported in house.modules and imported != name}
        for name, path in house.modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        return [" <- ".join(cycle.args[1])]
    return []


def no_import_stands_inside_a_function(house: House) -> list[str]:
    return [
        f"{path}:{node.lineno}"
        for path, tree in house.trees.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def no_import_is_relative(house: House) -> list[str]:
    return [
        f"{path}:{node.lineno}"
        for path, tree in house.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]


def private_names_stay_in_their_file(house: House) -> list[str]:
    return [
        f"{path}:{node.lineno} takes {alias.name} of {node.module}"
        for path, tree in house.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and is_in(node.module or "", *PACKAGES)
        for alias in node.names
        if alias.name.startswith("_")
    ]


def optunas_private_names_have_one_door(house: House) -> list[str]:
    return [
        f"{path}:{node.lineno} takes {alias.name} of {node.module}"
        for path, tree in house.trees.items()
        if path != "service/optuna_private.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and is_in(node.module or "", "optuna")
        for alias in node.names
        if alias.name.startswith("_") or "._" in f".{node.module}"
    ]


def who_takes_a_transaction_executes(house: House) -> list[str]:
    """In the store, a function that takes ``tx`` executes; one that returns a ``Call`` takes no ``tx``."""
    return [
        f"{path}:{node.lineno} {node.name} takes tx and returns {ast.unparse(node.returns)}"
        for path, tree in house.trees.items()
        if path.startswith("service/store/")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        if any(argument.arg == "tx" for argument in node.args.args)
        if node.returns is not None and re.search(r"\bCall\b", ast.unparse(node.returns))
    ]


def the_terminal_has_one_door(house: House) -> list[str]:
    """What others have written reaches people through `spezia/terminal/screen.py`, where it stays text."""
    return [
        f"{path}:{node.lineno} {ast.unparse(node.func)}"
        for path, tree in house.trees.items()
        if path.startswith(("spezia/", "service/")) and path != "spezia/terminal/screen.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("typer.echo", "Console", "click.echo", "sys.stdout.write", "print")
    ]


RULES: dict[Callable[[House], list[str]], tuple[str, str]] = {
    libraries_have_doors: ("service/lifecycle/planted.py", "import sqlalchemy"),
    spezia_imports_nothing_of_ours: ("spezia/cli/planted.py", "from service.store import studies"),
    importing_spezia_is_cheap: ("spezia/contract/study_spec.py", "import structlog"),
    the_contract_needs_only_pydantic: ("spezia/contract/planted.py", "import httpx2"),
    service_and_trainer_do_not_know_each_other: ("trainer/data/planted.py", "import service.errors"),
    only_migrate_names_migrations: ("service/store/planted.py", "from migrations import env"),
    the_service_never_imports_torch: ("service/search/planted.py", "from torch import nn"),
    the_supervisor_never_imports_torch: ("trainer/supervisor/planted.py", "from trainer.model.device import x"),
    training_knows_no_http_and_no_lease: ("trainer/train/train_step.py", "import trainer.supervisor.client"),
    routes_reach_search_and_store_through_lifecycle: ("service/routes/planted.py", "from service.store import studies"),
    layers_look_down_only: ("service/store/planted.py", "import service.lifecycle.page_token"),
    search_does_not_know_the_store: ("service/search/planted.py", "from service.store import studies"),
    siblings_form_no_cycle: ("trainer/data/planted.py", "import trainer.train.fine_tune"),
    modules_form_no_cycle: ("service/errors.py", "import service.app"),
    no_import_stands_inside_a_function: ("service/planted.py", "def f():\n    import os"),
    no_import_is_relative: ("service/planted.py", "from . import app"),
    private_names_stay_in_their_file: ("service/planted.py", "from trainer.cli import _app"),
    optunas_private_names_have_one_door: ("service/store/planted.py", "from optuna.trial._state import TrialState"),
    the_terminal_has_one_door: ("spezia/cli/planted.py", "typer.echo(study.name)"),
    who_takes_a_transaction_executes: ("service/store/planted.py", "def ask(tx: int) -> Call[int]: ..."),
}
"""Each rule with a file that breaks it: its path and its source."""

HOUSE = House(
    {
        str(path.relative_to(ROOT)): path.read_text()
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Callable[[House], list[str]]) -> None:
    assert rule(HOUSE) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_finds_a_planted_violation(rule: Callable[[House], list[str]]) -> None:
    assert set(rule(HOUSE.with_file(*RULES[rule]))) - set(rule(HOUSE))


def test_a_file_beside_folders_counts_singly_in_cycles() -> None:
    house = House({"service/gate.py": "import service.store.keys", "service/store/keys.py": "import service.gate"})
    assert siblings_form_no_cycle(house)
    assert siblings_form_no_cycle(House({**house.sources, "service/store/keys.py": "import service.errors"})) == []


def test_a_cycle_of_three_folders_is_found() -> None:
    house = House({"a/x/m.py": "import a.y.m", "a/y/m.py": "import a.z.m", "a/z/m.py": "import a.x.n", "a/x/n.py": ""})
    assert siblings_form_no_cycle(house)
    assert modules_form_no_cycle(house) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_of_python_files_is_a_package(package: str) -> None:
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    assert [str(folder.relative_to(ROOT)) for folder in folders if not (folder / "__init__.py").exists()] == []


def test_tests_mirror_the_source_folder_for_folder() -> None:
    ours = [tests for package in PACKAGES for tests in (ROOT / "tests" / package).rglob("test_*.py")]
    folders = {tests.parent.relative_to(ROOT / "tests") for tests in ours} - {Path("service/stories")}
    assert [str(folder) for folder in sorted(folders) if not (ROOT / folder).is_dir()] == []


def test_what_is_started_by_its_name_can_be_started() -> None:
    starters = [path for folder in (*PACKAGES, "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    named = {name for path in starters for name in re.findall(r'"-m", "([\w.]+)"', path.read_text())}
    ours = {name for name in named if is_in(name, *PACKAGES)}
    assert ours >= {"spezia.cli", "trainer.engine", "trainer.cli"}
    startable = set(HOUSE.modules) - {module_of(path) for path in HOUSE.sources if path.endswith("/__init__.py")}
    assert [name for name in ours if name not in startable and f"{name}.__main__" not in startable] == []


def test_tests_and_benchmarks_open_databases_with_the_services_own_copy_of_sqlite() -> None:
    # two copies in one process undo each other's locks on a file
    others = House(
        {
            str(path.relative_to(ROOT)): path.read_text()
            for folder in ("tests", "benchmarks")
            for path in (ROOT / folder).rglob("*.py")
        }
    )
    assert others.importing(lambda _path, module: module.split(".")[0] in ("sqlite3", "pysqlite3")) == []
    with_stock = {path for path, source in others.sources.items() if re.search(r"\bRDBStorage\(", source)}
    assert with_stock - {"tests/test_architecture.py"} == {"tests/stock.py", "benchmarks/control_plane.py"}
