"""What imports cost: CPU milliseconds of `import spezia`, of the two libraries that it loads, and of whole programs.

    python benchmarks/import_cost.py [ROUNDS]

Each statement runs in a fresh Python, ROUNDS times, the statements taking turns; the milliseconds are that process's
own on the CPU, from before the statement to after it, so that others on the machine disturb them little. `import
pydantic` leaves most of pydantic for the first model to load, hence the second line. Prints one JSON line a statement:
the median, the least, and how many modules it loads.
"""

import json
import statistics
import subprocess
import sys

STATEMENTS = {
    "pydantic, httpx2": "import pydantic, httpx2",
    "pydantic, httpx2, one model": "import pydantic, httpx2; type('One', (pydantic.BaseModel,), {})",
    "spezia": "import spezia",
    "optuna": "import optuna",
    "the service": "import service.http_server",
    "the process that trains": "import gc; gc.disable(); import trainer.engine.process; gc.freeze(); gc.enable()",
}
PROGRAM = """
import sys, time
before, modules = time.process_time(), len(sys.modules)
{statement}
print(1000 * (time.process_time() - before), len(sys.modules) - modules)
"""


def main(rounds: int) -> None:
    milliseconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    modules: dict[str, int] = {}
    for _ in range(rounds + 1):
        for name, statement in STATEMENTS.items():
            cost, n_modules = run(statement)
            milliseconds[name].append(cost)
            modules[name] = n_modules
    for name, (_, *costs) in milliseconds.items():  # the first round writes and reads bytecode
        line = {"import": name, "cpu_ms": round(statistics.median(costs), 1), "least_cpu_ms": round(min(costs), 1)}
        print(json.dumps(line | {"modules": modules[name], "rounds": rounds}), flush=True)


def run(statement: str) -> tuple[float, int]:
    """Milliseconds and modules of one statement in a fresh Python."""
    program = PROGRAM.format(statement=statement)
    cost, n_modules = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    return float(cost), int(n_modules)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 20)
