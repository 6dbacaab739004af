"""What the files of examples/deploy, the Dockerfile and docker-compose.yml start, read as those do who start it."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "examples" / "deploy"


@dataclass(frozen=True)
class Stage:
    """A stage of a Dockerfile: what a container of it has, and starts unless it is told otherwise."""

    environment: dict[str, str] = field(default_factory=dict)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Container:
    """A container: what it starts, with which variables."""

    argv: list[str]
    environment: dict[str, str]
    health: list[str]


def stages() -> dict[str, Stage]:
    """The stages of the Dockerfile by their names, each with what it has from the stage that it begins with."""
    found: dict[str, Stage] = {}
    name = ""
    for line in re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            begins_with, _, name = rest.split()
            before = found.get(begins_with, Stage())
            found[name] = Stage(dict(before.environment), [*before.entrypoint], [*before.command], [*before.health])
        elif word == "ENV":
            found[name].environment.update(one.split("=", 1) for one in shlex.split(rest))
        elif word in ("ENTRYPOINT", "CMD"):
            (found[name].entrypoint if word == "ENTRYPOINT" else found[name].command)[:] = json.loads(rest)
        elif word == "HEALTHCHECK":
            found[name].health[:] = json.loads(rest.partition("CMD ")[2] or "[]")
    return found


def compose() -> Any:
    """The content of docker-compose.yml."""
    return YAML(typ="safe").load(ROOT / "docker-compose.yml")


def of_compose(name: str) -> Container:
    """The container of a service of docker-compose.yml that we build."""
    service = compose()["services"][name]
    stage = stages()[service["build"]["target"]]
    environment = stage.environment | service.get("environment", {})
    return Container([*stage.entrypoint, *service.get("command", stage.command)], environment, stage.health)


def kubernetes() -> list[Any]:
    """All resources of examples/deploy/kubernetes."""
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [resource for file in files for resource in YAML(typ="safe").load_all(file)]


def of_kubernetes() -> dict[str, Container]:
    """The containers of the pods by their names, those that begin them too."""
    found = {}
    for resource in kubernetes():
        pod = resource["spec"].get("template", {}).get("spec", {})
        for one in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            stage = stages()["worker-cuda" if one["image"].startswith("spezia-worker") else "service"]
            environment = stage.environment | {each["name"]: each["value"] for each in one.get("env", [])}
            found[one["name"]] = Container([*stage.entrypoint, *one["args"]], environment, stage.health)
    return found


def of_systemd() -> list[str]:
    """The command line of the unit of systemd."""
    [line] = re.findall(r"^ExecStart=(.*)$", (DEPLOY / "spezia-worker.service").read_text(), flags=re.MULTILINE)
    return shlex.split(line)


def of_slurm() -> list[str]:
    """The command line of the script for Slurm, before its shell has filled in variables."""
    script = re.sub(r"\\\n", " ", (DEPLOY / "worker.slurm").read_text())
    [line] = re.findall(r"^exec (.*)$", script, flags=re.MULTILINE)
    return shlex.split(line)
