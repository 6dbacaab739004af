"""What study files find and what they take, each in a service of its own, by turns under several seeds.

    python benchmarks/compare_studies.py ONE.yaml OTHER.yaml --data FOLDER --out RESULTS.jsonl [--seeds 3]

A line a study goes to ``--out`` at once: the best value, that of the baseline, the metrics of the test split, the
trials by state, device seconds and seconds on the clock. Each begins from nothing, so that none finds in the trunk
cache what another has computed. In the end a JSON line for each file has the means. Device seconds are by the clock,
so it wants a machine that does nothing else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from spezia.contract.best_trial import BestTrial


def main(files: Sequence[Path], data: Path, out: Path, n_seeds: int) -> None:
    found: dict[str, list[dict[str, Any]]] = {file.stem: [] for file in files}
    for seed in range(n_seeds):
        for file in files:
            line = run(file, data, seed)
            found[file.stem].append(line)
            with out.open("a") as log:
                log.write(json.dumps(line) + "\n")
    for name, lines in found.items():
        means = {
            key: round(statistics.fmean(line[key] for line in lines), 4) for key in ("value", "device_seconds", "wall")
        }
        print(json.dumps({"study": name, "seeds": n_seeds} | means), flush=True)


def run(file: Path, data: Path, seed: int) -> dict[str, Any]:
    """Carry out a study under a seed, with the tables of ``data`` beside its file."""
    with tempfile.TemporaryDirectory() as place:
        study = Path(place) / "study.yaml"
        for table in data.glob("*.csv"):
            (study.parent / table.name).symlink_to(table.resolve())
        YAML().dump(YAML(typ="safe").load(file) | {"seed": seed}, study)
        command = [sys.executable, "-m", "spezia.cli", "run", str(study), "--json", "--data-root", str(data)]
        environment = os.environ | {"SPEZIA_HOME": str(Path(place) / "home")}
        began = time.monotonic()
        answer = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout
        wall = time.monotonic() - began
    best = BestTrial.model_validate_json(answer)
    return {
        "study": file.stem,
        "seed": seed,
        "value": best.value,
        "baseline": best.baseline.value if best.baseline else None,
        "metrics": {name: value for name, value in best.metrics.items() if name.startswith("test_")},
        "trials": best.trials.model_dump(),
        "device_seconds": round(best.device_seconds, 1),
        "wall": round(wall, 1),
        "load": os.getloadavg()[0],
        "machine": f"{os.uname().machine}, {os.cpu_count()} cores",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="folder of the tables that the files name")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    main(given.files, given.data, given.out, given.seeds)
