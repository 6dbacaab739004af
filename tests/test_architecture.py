"""Who may import whom: the arrows of the design, read off the source."""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PATHS = sorted(path for package in ("service", "trainer", "migrations") for path in (ROOT / package).rglob("*.py"))
TREES = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in PATHS}

DOORS = {
    "fastapi": ("service/app.py", "service/dependencies.py", "service/routes/"),
    "starlette": ("service/app.py", "service/dependencies.py", "service/routes/"),
    "optuna": ("service/search/", "service/store/"),
    "sqlalchemy": ("service/store/", "migrations/"),
    "sqlite3": ("service/store/sql/sqlite.py",),
    "pysqlite3": ("service/store/sql/sqlite.py",),
    "alembic": ("service/store/", "migrations/"),
    "httpx2": ("spezia/client.py", "service/webhook_sender.py", "trainer/supervisor/client.py", "trainer/data/hub.py"),
    "limits": ("service/gate.py",),
    "uvicorn": ("service/serve.py",),
    "prometheus_client": ("service/metrics.py",),
}
"""Libraries that few may import."""

HEAVY = {"torch", "transformers", "datasets", "sklearn", "safetensors", "pyarrow", "peft"}
NEVER_TRAINS = (
    "trainer/supervisor/supervisor.py",
    "trainer/cli.py",
    "trainer/supervisor/client.py",
    "trainer/supervisor/heartbeat.py",
    "trainer/supervisor/attempt.py",
)
"""Of the supervisor, which outlives whatever torch does."""


def module_of(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


MODULES = {module_of(path): path for path in TREES}


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Imported modules with their lines; ``from a import b`` is ``a.b`` where that is a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in MODULES else node.module), node.lineno


def violations(is_forbidden: Callable[[str, str], bool]) -> list[str]:
    return [
        f"{path}:{line} imports {module}"
        for path, tree in TREES.items()
        for module, line in imports(tree)
        if is_forbidden(path, module)
    ]


@pytest.mark.parametrize("library", DOORS)
def test_a_library_is_imported_by_its_doors_alone(library: str) -> None:
    assert not violations(lambda path, module: module.split(".")[0] == library and not path.startswith(DOORS[library]))


def test_tests_and_benchmarks_open_databases_with_the_services_own_copy_of_sqlite() -> None:
    # two copies in one process undo each other's locks on a file
    others = [path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert not [
        f"{path}:{line} imports {module}"
        for path in others
        for module, line in imports(ast.parse(path.read_text()))
        if module.split(".")[0] in ("sqlite3", "pysqlite3")
    ]
    with_stock = {str(path.relative_to(ROOT)) for path in others if re.search(r"\bRDBStorage\(", path.read_text())}
    assert with_stock == {"tests/stock.py", "benchmarks/control_plane.py"}


def test_the_service_knows_nothing_of_the_trainer() -> None:
    assert not violations(lambda path, module: path.startswith("service/") and module.startswith("trainer"))


def test_the_service_never_imports_torch() -> None:
    assert not violations(lambda path, module: path.startswith("service/") and module.split(".")[0] in HEAVY)


def test_the_trainer_knows_the_contract_and_nothing_else_of_the_service() -> None:
    assert not violations(
        lambda path, module: (
            path.startswith("trainer/") and module.startswith("service") and not module.startswith("spezia.contract")
        )
    )


def test_the_contract_imports_nothing_of_ours_and_only_pydantic() -> None:
    allowed = {"pydantic", "pydantic_core", *sys.stdlib_module_names}
    log_form = "spezia/common/logs.py"  # of services and workers alike: docs/decisions/0014
    assert not violations(
        lambda path, module: (
            path.startswith("service/contract/")
            and not (module.startswith("spezia.contract") or module.split(".")[0] in allowed)
            and not (path == log_form and module.startswith("structlog"))
        )
    )


def test_routes_reach_search_and_store_through_lifecycle() -> None:
    # types of what `dependencies` hands over may be named
    named = ("service.store.sql.transaction", "service.search.propose.proposer")
    assert not violations(
        lambda path, module: (
            path.startswith("service/routes/")
            and module.startswith(("service.store", "service.search"))
            and module not in named
        )
    )


def test_layers_look_down_only() -> None:
    layers = ["service/contract/", "service/store/", "service/search/", "service/lifecycle/", "service/routes/"]
    rank = {layer.replace("/", "."): index for index, layer in enumerate(layers)}

    def looks_up(path: str, module: str) -> bool:
        own = next((rank[layer.replace("/", ".")] for layer in layers if path.startswith(layer)), None)
        theirs = next((index for prefix, index in rank.items() if f"{module}.".startswith(prefix)), None)
        return own is not None and theirs is not None and theirs > own

    assert not violations(looks_up)


def test_search_and_store_do_not_know_each_other() -> None:
    assert not violations(
        lambda path, module: path.startswith("service/search/") and module.startswith("service.store")
    )
    assert not violations(
        lambda path, module: path.startswith("service/store/") and module.startswith("service.search")
    )


def test_training_knows_no_http_and_no_lease() -> None:
    # trainer.hub only names what the hub's own libraries raise
    closure = reachable("trainer.train.fine_tune") - {"trainer.data.hub"}
    assert not closure & {
        "trainer.supervisor.client",
        "trainer.supervisor.supervisor",
        "trainer.supervisor.heartbeat",
        "trainer.messages",
    }
    libraries = {module.split(".")[0] for name in closure for module, _ in imports(TREES[MODULES[name]])}
    assert not libraries & {"httpx2", "optuna", "fastapi", "sqlalchemy"}


def test_the_supervisor_never_imports_torch() -> None:
    closure = set().union(*(reachable(module_of(path)) for path in NEVER_TRAINS))
    libraries = {module.split(".")[0] for name in closure for module, _ in imports(TREES[MODULES[name]])}
    assert not libraries & HEAVY


def test_no_import_stands_inside_a_function() -> None:
    late = [
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not late


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {
        name: {module for module, _ in imports(TREES[path]) if module in MODULES} for name, path in MODULES.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", [path for path in TREES if path.startswith("service/lifecycle/")])
def test_a_lifecycle_file_has_a_public_function_of_its_name(path: str) -> None:
    name = Path(path).stem
    public = [node.name for node in TREES[path].body if isinstance(node, ast.FunctionDef)]
    assert name == "__init__" or name in public


def reachable(module: str) -> set[str]:
    """Modules of ours that importing ``module`` imports."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in MODULES and name not in seen:
            seen.add(name)
            waiting += [imported for imported, _ in imports(TREES[MODULES[name]])]
    return seen


def test_what_is_private_to_a_file_stays_in_it() -> None:
    strangers = [
        f"{path}:{node.lineno} takes {alias.name} of {node.module}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name.startswith("_") and str(node.module).split(".")[0] in ("service", "trainer")
    ]
    assert not strangers
