"""Is everything right on this machine's GPU, and how fast: one command, under 8 minutes, one JSON file.

    python benchmarks/gpu_check [--out gpu_check.json] [--model DIR]

It wants a Python with the packages of ``spezia[all]``, pytest, pytest-timeout and pytest-xdist; Spezia itself need not
be installed.
Each part is a process of its own with a time limit. The file is there from the first second and is written again
whenever a part has found something, so that whatever ends the check, or a part, loses nothing that was found before.
What a part prints lies beside the file. On a machine without a GPU the tests are skipped, models are small, and figures
that only a GPU has are null: so the check itself is tested.

``--model`` is a folder of a BERT without a head, such as all-MiniLM-L6-v2, for the study; absent: random weights.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from check import Check, Part

ROOT = Path(__file__).parent.parent.parent
TOTAL_SECONDS = 450.0
PACKAGES = ("torch", "transformers", "peft", "datasets", "numpy", "optuna", "sqlalchemy", "fastapi", "pydantic")


def main() -> int:
    parser = argparse.ArgumentParser(prog="gpu_check")
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"))
    parser.add_argument("--model", type=Path, help="folder of a pretrained BERT for the study; absent: random weights")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that no part outlives this process
    parts = [
        Part("machine", "machine.py", 90),
        Part("minilm", "figures.py", 90, ["minilm"], is_needed=True),
        Part("tests", "cuda_tests.py", 150),
        Part("study", "study.py", 120, ["--model", str(options.model.absolute())] if options.model else []),
        Part("bert-base", "figures.py", 90, ["bert-base"]),
        Part("causal-0.5b", "figures.py", 110, ["causal-0.5b"]),
    ]
    check = Check(options.out.absolute(), parts, describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        describe_installation(Path(folder))
        is_good = check.run(environment(Path(folder)), TOTAL_SECONDS)
    print(check.table())
    print(options.out)
    return 0 if is_good else 1


def describe_machine() -> dict[str, Any]:
    """Return what can be said before anything large is imported."""
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": output_of("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "python": platform.python_version(),
        "cpu_cores": os.cpu_count(),
        "driver": output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "versions": {package: version_of(package) for package in PACKAGES},
    }


def output_of(*command: str) -> str | None:
    """Return what a program prints; ``None`` where it is not there or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe_installation(folder: Path) -> None:
    """Write what an installation would record: by it `spezia` finds its commands, and the service its version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, its_version = project["name"], project["version"]
    described = folder / f"{name}-{its_version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {its_version}\n")
    sections = [
        "\n".join((f"[{group}]", *(f"{entry} = {target}" for entry, target in entries.items()), ""))
        for group, entries in project["entry-points"].items()
    ]
    (described / "entry_points.txt").write_text("\n".join(sections))


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of all parts: our packages, the folder that describes them, and nothing from a hub."""
    path = [str(ROOT), str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {"PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", "TMPDIR": str(folder)}
    return {**os.environ, **ours}


if __name__ == "__main__":
    sys.exit(main())
