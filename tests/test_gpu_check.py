"""`benchmarks/gpu_check` loses nothing that a part has found, and all of it runs where there is no GPU."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "benchmarks" / "gpu_check"
GOOD = """
print('{"first": 1}')
print('{"second": [2, 3], "first": 4}')
"""
BAD = """
import sys
print('{"third": 3}', flush=True)
sys.exit("it broke")
"""
HANGS = """
import time
print('{"fourth": 4}', flush=True)
print('{"fif', end="", flush=True)
time.sleep(600)
"""
CANNOT = 'print(\'{"skipped": "no device"}\')'


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(PROGRAM)
    return importlib.import_module("check")


def write(folder: Path, **programs: str) -> dict[str, str]:
    files = {name: folder / f"{name}.py" for name in programs}
    for name, file in files.items():
        file.write_text(programs[name])
    return {name: str(file) for name, file in files.items()}


def test_what_a_part_found_is_kept_however_it_ends(check: Any, tmp_path: Path) -> None:
    programs = write(tmp_path, good=GOOD, bad=BAD, hangs=HANGS, cannot=CANNOT)
    file = tmp_path / "out.json"
    parts = [check.Part(name, program, 2.0 if name == "hangs" else 60.0) for name, program in programs.items()]
    ran = check.Check(file, parts, {"python": "3"})
    before = json.loads(file.read_text())
    assert {part["state"] for part in before["parts"].values()} == {"not run"}
    assert not ran.run(os.environ, total_seconds=300.0)
    content = json.loads(file.read_text())
    assert (content["schema"], content["python"]) == (1, "3")
    found = {name: (part["state"], part["found"]) for name, part in content["parts"].items()}
    assert found == {
        "good": ("passed", {"first": 4, "second": [2, 3]}),
        "bad": ("failed", {"third": 3}),
        "hangs": ("timed out", {"fourth": 4}),
        "cannot": ("skipped", {}),
    }
    errors = {name: part["error"] for name, part in content["parts"].items()}
    assert errors["bad"] == "exit code 1\nit broke\n"
    assert errors["hangs"].startswith("killed after 2 s")
    assert (errors["good"], errors["cannot"]) == (None, "no device")


def test_a_part_for_which_no_time_is_left_says_so(check: Any, tmp_path: Path) -> None:
    programs = write(tmp_path, good=GOOD)
    ran = check.Check(tmp_path / "out.json", [check.Part("good", programs["good"], 5.0)], {})
    assert not ran.run(os.environ, total_seconds=0.0)
    part = json.loads((tmp_path / "out.json").read_text())["parts"]["good"]
    assert part["state"] == "not run"
    assert "of the 0 s that all parts have together" in part["error"]


@pytest.mark.parametrize(("program", "last"), [("bad", "not run"), ("good", "passed"), ("cannot", "passed")])
def test_nothing_runs_after_a_needed_part_that_has_not_passed(
    check: Any, tmp_path: Path, program: str, last: str
) -> None:
    programs = write(tmp_path, good=GOOD, bad=BAD, cannot=CANNOT)
    parts = [
        check.Part("first", programs["bad"], 60.0),
        check.Part("needed", programs[program], 60.0, is_needed=True),
        check.Part("last", programs["good"], 60.0),
    ]
    assert not check.Check(tmp_path / "out.json", parts, {}).run(os.environ, total_seconds=300.0)
    states = {name: part["state"] for name, part in json.loads((tmp_path / "out.json").read_text())["parts"].items()}
    assert (states["first"], states["last"]) == ("failed", last)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all_of_it_runs_without_a_gpu(tmp_path: Path) -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    environment.pop("PYTHONPATH", None)  # it knows where it lies
    command = [sys.executable, str(PROGRAM), "--out", str(tmp_path / "out.json")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    parts = json.loads((tmp_path / "out.json").read_text())["parts"]
    states = {name: part["state"] for name, part in parts.items()}
    assert states == dict.fromkeys(parts, "passed") | {"tests": "skipped"}, done.stdout + done.stderr
    assert parts["tests"]["error"] == "there is no CUDA device"
    assert parts["study"]["found"]["state"] == "complete"
    for name in ("minilm", "bert-base", "causal-0.5b"):
        found = parts[name]["found"]
        assert found["is_small"]
        assert found["tokens_per_second"] > 0
        assert found["share_of_matmul_peak"] > 0
        assert found["peak_memory_bytes"] is found["kernel_launches_per_step"] is None
