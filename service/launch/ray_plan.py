"""How the workers of a Ray cluster are started: made from the settings, which are checked before anything is."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from urllib.parse import urlsplit

from service.launch.ray_actor import versions_here
from service.launch.ray_cluster import Needs
from service.launch.worker_options import WorkerOptions
from service.lifecycle.keys.key_text import KEY_TEXT
from service.loopback import is_loopback
from service.settings import Settings
from spezia.common.extras import MissingExtra

IDLE_SECONDS = 60
"""Time for which a worker waits for work before it ends."""

_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):[0-9]+")
_SECRET_NAME = re.compile(r"SPEZIA_(API_KEY|DATABASE)|RAY_AUTH_TOKEN|AWS_(ACCESS_KEY|SECRET|SESSION_TOKEN)")
"""How variables begin that hold keys: ours, the database's, the cluster's and those of the bucket of files."""
_MAX_THREADS = 4
"""Beside a GPU the threads only feed it."""


class BadRaySettings(RuntimeError):
    """Workers cannot be started on Ray by these settings; the message names the setting and says what to do."""


@dataclass(frozen=True, kw_only=True)
class RayPlan:
    """How the workers of a cluster are started."""

    address: str
    """Host and port of the cluster's head."""
    at_most: int
    """Number of workers that there may be at once."""
    needs: Needs
    arguments: tuple[str, ...]
    """Arguments of Python on a node, to which the worker's id is added."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What is added to the environment of a node, beside the worker's key."""

    @property
    def digest(self) -> str:
        """Text that is the same for workers that are alike: of the same settings and versions."""
        alike = [asdict(self.needs), self.arguments, dict(self.environment), versions_here()]
        return hashlib.sha256(json.dumps(alike, sort_keys=True).encode()).hexdigest()[:16]


def ray_plan(settings: Settings, url: str, environment: Mapping[str, str]) -> RayPlan:
    """Check the settings of the launcher `ray` and return what they come to.

    Args:
        url: Address by which this machine reaches the service.
        environment: Of this process, which holds how to be let in by the cluster.

    Raises:
        BadRaySettings: A setting is missing, or does not go with another.
        MissingExtra: Ray is not installed.
    """
    if find_spec("ray") is None:
        raise MissingExtra("--launcher ray", "ray", "ray")
    address, host = _head(settings)
    if settings.n_workers is None:
        raise BadRaySettings("--launcher ray: say how many workers there may be at once, such as --workers 8")
    if not is_loopback(host):
        _check_reach(settings, address, url, environment)
    _check_share(settings)
    _check_runtime_env(settings)
    logs = {"SPEZIA_LOG_FORMAT": settings.log_format, "SPEZIA_LOG_LEVEL": settings.log_level}
    return RayPlan(
        address=address,
        at_most=settings.n_workers,
        needs=Needs(
            num_cpus=settings.ray_num_cpus,
            num_gpus=settings.ray_num_gpus,
            resources=settings.ray_resources,
            runtime_env=settings.ray_runtime_env,
        ),
        arguments=_arguments(settings, settings.worker_url or url),
        # Ray names the GPUs that an actor may use, and none where it asked for none
        environment=logs if settings.ray_num_gpus else {**logs, "CUDA_VISIBLE_DEVICES": ""},
    )


def _head(settings: Settings) -> tuple[str, str]:
    """Return the address of the cluster's head, and its host alone."""
    address = settings.ray_address or ""
    named = _ADDRESS.fullmatch(address)
    if named is None:
        raise BadRaySettings(
            f"--ray-address {address or '(absent)'}: name the cluster's head as HOST:PORT, such as 10.0.0.5:6379;"
            " this machine is one of the cluster's, which `ray start --address=HOST:PORT --num-cpus=0` makes it"
        )
    return address, named["host"]


def _check_reach(settings: Settings, address: str, url: str, environment: Mapping[str, str]) -> None:
    """Refuse a cluster elsewhere that lets everybody in, or whose workers do not reach the service."""
    if environment.get("RAY_AUTH_MODE") != "token":
        raise BadRaySettings(
            f"--ray-address {address} can be reached by others, and whoever reaches a cluster without a token runs"
            " what they like on it: start the cluster and this service with RAY_AUTH_MODE=token and the same"
            " RAY_AUTH_TOKEN_PATH"
        )
    if settings.worker_url is None and is_loopback(urlsplit(url).hostname or ""):
        raise BadRaySettings(
            f"workers elsewhere do not reach {url}: set SPEZIA_WORKER_URL to the address by which they do"
        )


def _check_share(settings: Settings) -> None:
    """Refuse a part of a GPU without a declared part of its memory, which Ray does not divide."""
    gpus, memory = settings.ray_num_gpus, settings.ray_gpu_memory
    if 0 < gpus < 1 and memory is None:
        raise BadRaySettings(
            f"SPEZIA_RAY_NUM_GPUS={gpus:g}: workers that share a GPU share its memory, which Ray does not divide;"
            f" declare what each may use of it, such as SPEZIA_RAY_GPU_MEMORY={gpus:g}"
        )
    if memory is not None and memory > gpus:
        raise BadRaySettings(
            f"SPEZIA_RAY_GPU_MEMORY={memory:g}: more than SPEZIA_RAY_NUM_GPUS={gpus:g}, so that workers which share"
            " a GPU could use more memory than there is"
        )


def _check_runtime_env(settings: Settings) -> None:
    """Refuse a key in what the cluster shows to whoever reaches it."""
    variables = settings.ray_runtime_env.get("env_vars") or {}
    named = [f"env_vars.{name}" for name in variables if _SECRET_NAME.match(name)]
    if not named and KEY_TEXT.search(json.dumps(settings.ray_runtime_env)):
        named = ["a text"]
    if named:
        raise BadRaySettings(
            f"SPEZIA_RAY_RUNTIME_ENV: {named[0]} holds a key, and Ray shows it to whoever reaches the cluster; leave it"
            " out: a worker is handed its own key, and reaches neither database nor bucket"
        )


def _arguments(settings: Settings, server: str) -> tuple[str, ...]:
    """Return the arguments of Python on a node, for workers of the service at ``server``."""
    options = WorkerOptions(
        server=server,
        data_roots=settings.data_roots,
        allow_scripts=settings.allow_scripts,
        # folders of this machine are none of the nodes', unless an operator says so
        checkpoint_dir=settings.checkpoint_dir,
        checkpoint_bytes=settings.checkpoint_bytes,
        cache_dir=settings.cache_dir,
        cache_bytes=settings.cache_bytes,
    )
    arguments = ["-P", "-m", "trainer.cli", *options.arguments(), "--idle-seconds", str(IDLE_SECONDS)]
    arguments += ["--threads", str(max(1, min(_MAX_THREADS, int(settings.ray_num_cpus))))]
    if settings.ray_gpu_memory is not None:
        arguments += ["--gpu-memory", str(settings.ray_gpu_memory)]
    return tuple(arguments)
