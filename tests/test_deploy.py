"""What we give people to deploy with is well formed, and uses nothing that is not documented."""

import json
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from typer.main import get_command

from service.settings import Settings
from spezia.cli.main import app as spezia
from spezia.common.worker_processes import GRACE_SECONDS
from tests import deployed
from tests.deployed import DEPLOY, ROOT
from trainer.cli import app as spezia_worker

BIN = Path(sys.executable).parent
KUBERNETES = ("1.34", "1.37")
"""Oldest and newest version whose schema the manifests are checked against."""
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.suffix != ".conf")
VARIABLES = {"SPEZIA_SERVER", "SPEZIA_API_KEY", "SPEZIA_API_KEY_FILE"} | {
    f"SPEZIA_{name.upper()}" for name in Settings.model_fields
}
COMMANDS = {
    "systemd": deployed.of_systemd(),
    "slurm": deployed.of_slurm(),
    **{f"kubernetes {name}": container.argv for name, container in deployed.of_kubernetes().items()},
    **{f"compose {name}": deployed.of_compose(name).argv for name in ("key", "service", "worker", "worker-gpu")},
    **{f"docker {name}": [*stage.entrypoint, *stage.command] for name, stage in deployed.stages().items()},
}


def test_the_dockerfile_pleases_hadolint() -> None:
    checked = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_compose_file_is_one() -> None:
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.validate(deployed.compose(), schema)


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("resource", deployed.kubernetes(), ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
def test_every_manifest_is_one_of_kubernetes(resource: Any, version: str) -> None:
    kubernetes_validate.validate(resource, version, strict=True)


def test_the_unit_is_one_of_systemd(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd here")
    program = deployed.of_systemd()[0]
    unit = (DEPLOY / "spezia-worker.service").read_text().replace(program, shutil.which("true") or "")
    (tmp_path / "spezia-worker.service").write_text(unit)
    checked = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "spezia-worker.service"], capture_output=True, text=True, check=False
    )
    told = [line for line in checked.stderr.splitlines() if "spezia-worker" in line]
    assert (checked.returncode, told) == (0, [])


def test_the_script_for_slurm_is_one_of_bash() -> None:
    subprocess.run(["bash", "-n", DEPLOY / "worker.slurm"], check=True)


@pytest.mark.parametrize(
    "command", [argv for argv in COMMANDS.values() if argv], ids=[k for k, v in COMMANDS.items() if v]
)
def test_every_command_takes_the_options_that_it_is_given(command: list[str]) -> None:
    program, *arguments = command
    if program.endswith("spezia-worker"):
        # an image's own entry point has no options yet
        parsed = get_command(spezia_worker).make_context("spezia-worker", arguments or ["--server", "http://there"])
        assert parsed.params["server"]
        return
    assert program == "spezia"
    step: Any = get_command(spezia)
    while hasattr(step, "commands"):
        name, *arguments = arguments
        step = step.commands[name]
    step.make_context("spezia", arguments)


@pytest.mark.parametrize("path", [ROOT / "Dockerfile", ROOT / "docker-compose.yml", *FILES], ids=lambda path: path.name)
def test_every_variable_is_documented(path: Path) -> None:
    assert set(re.findall(r"\bSPEZIA_[A-Z_]+", path.read_text())) <= VARIABLES


def test_everybody_gives_a_worker_the_time_that_it_needs_to_save_its_trial() -> None:
    [systemd] = re.findall(r"^TimeoutStopSec=(\d+)$", (DEPLOY / "spezia-worker.service").read_text(), re.MULTILINE)
    [slurm] = re.findall(r"^#SBATCH --signal=B:TERM@(\d+)$", (DEPLOY / "worker.slurm").read_text(), re.MULTILINE)
    services = deployed.compose()["services"]
    compose = [services[name]["stop_grace_period"].removesuffix("s") for name in ("worker", "worker-gpu")]
    [pod] = [
        one
        for one in deployed.kubernetes()
        if (one["kind"], one["metadata"]["name"]) == ("Deployment", "spezia-worker")
    ]
    kubernetes = pod["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert all(int(seconds) > GRACE_SECONDS for seconds in (systemd, slurm, kubernetes, *compose))


def test_no_container_runs_as_root() -> None:
    [user] = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    pods = [one["spec"]["template"]["spec"] for one in deployed.kubernetes() if one["kind"] == "Deployment"]
    assert [pod["securityContext"]["runAsUser"] for pod in pods] == [int(user)] * 2
    assert all(pod["securityContext"]["runAsNonRoot"] for pod in pods)
    last = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    targets = [stage for stage in last if re.match(r"\S+ AS (service|worker|worker-cuda)\n", stage)]
    assert len(targets) == 3
    assert all(stage.startswith("base AS ") for stage in targets)


def test_no_secret_is_written_down() -> None:
    services = deployed.compose()["services"]
    variables = [(name, str(value)) for one in services.values() for name, value in one.get("environment", {}).items()]
    variables += [(n, v) for one in deployed.of_kubernetes().values() for n, v in one.environment.items()]
    assert len(variables) > 8
    secret = [(name, value) for name, value in variables if re.search("PASSWORD|KEY|TOKEN", name)]
    assert secret
    assert all(name.endswith("_FILE") and value.startswith("/run/secrets/") for name, value in secret)
    assert not [value for _, value in variables if re.search(r"://[^/@]*:[^/@]+@", value)]


def test_every_image_has_a_version() -> None:
    for line in re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        assert line in deployed.stages() or re.fullmatch(r"python:\d+\.\d+\.\d+-\S+", line)
    assert re.fullmatch(r"postgres:\d+\.\d+-\S+", deployed.compose()["services"]["postgres"]["image"])
