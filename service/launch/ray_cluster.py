"""A Ray cluster as a launcher needs it: actors to look at, to make, to start a worker in, and to remove.

Ray ends a process that has lost its cluster, so a process of its own speaks with it, which imports Ray. When that is
gone or does not answer, the cluster cannot be reached, and the next call tries it anew.
"""

import contextlib
import logging
import multiprocessing
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from service.launch.ray_actor import Report, WorkerActor
from spezia.common.lazy_module import LazyModule

ray = LazyModule("ray")
"""Loaded in the process that speaks with the cluster, never in the service."""

CONNECT_SECONDS = 60.0
"""Time for a cluster to let the service in."""
CALL_SECONDS = 20.0
"""Time for any later answer of the cluster; a head that is lost does not answer."""
_KNOCK_SECONDS = 10.0
_LOOK_SECONDS = 1.0
"""Time that a look at the actors waits for their answers; those that come later are seen by the next one."""
_START_SECONDS = 10.0
"""Time that an actor with a place may take to start its worker."""


class ClusterUnavailable(RuntimeError):
    """The cluster does not answer, does not let this service in, or refuses what was asked; the message says why."""


@dataclass(frozen=True)
class Gone:
    """An actor that has died."""

    reason: str


Found = Report | Gone | None
"""What a look finds out about an actor; ``None``: it has not answered, as it has no place yet or its node is lost."""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What each actor asks the cluster for."""

    num_cpus: float
    num_gpus: float
    resources: Mapping[str, float] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Ray's description of the environment that actors run in; it may hold secrets of others, and no key of ours."""

    def __str__(self) -> str:
        amounts = {"GPU": self.num_gpus, "CPU": self.num_cpus, **self.resources}
        return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items() if amount)


class RayCluster:
    """The actors of one namespace of a cluster; used by one thread at a time."""

    def __init__(self, address: str, namespace: str) -> None:
        self._address = address
        self._namespace = namespace
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def connect(self) -> None:
        """Connect to the cluster, unless that is done; each call does so.

        Raises:
            ClusterUnavailable: It does not answer, or does not let this service in.
        """
        if self._process is None:
            self._knock()
            # spawned, not forked: the service has threads, and a fork would inherit their locks
            context = multiprocessing.get_context("spawn")
            self._connection, theirs = context.Pipe()
            arguments = (theirs, self._address, self._namespace)
            self._process = context.Process(target=_speak, args=arguments, name="ray", daemon=True)
            self._process.start()
            theirs.close()
            try:
                self._receive(CONNECT_SECONDS)
            except ClusterUnavailable as refused:
                why = "has this process the cluster's token (RAY_AUTH_MODE, RAY_AUTH_TOKEN_PATH)?"
                raise ClusterUnavailable(f"{refused}; {why}") from None

    def look(self) -> dict[str, Found]:
        """Return what the actors say, by their names; those that have died since the last look are told of once."""
        found: dict[str, Found] = self._call("look")
        return found

    def create(self, name: str, plan: str, needs: Needs) -> None:
        """Ask for an actor of this name, unless there is one; the cluster places it when it has room."""
        self._call("create", name, plan, needs)

    def start(self, name: str, worker_id: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Report:
        """Start the worker of an actor that has a place; return what the actor says then."""
        report: Report = self._call("start", name, worker_id, arguments, environment)
        return report

    def end(self, name: str) -> None:
        """Have the worker of an actor end in good order."""
        self._call("end", name)

    def remove(self, name: str) -> None:
        """Kill an actor, with whatever it runs; harmless where there is none of this name."""
        self._call("remove", name)

    def close(self) -> None:
        """Leave the cluster; its actors stay."""
        if self._process is not None:
            assert self._connection is not None
            self._connection.close()
            self._process.kill()
            self._process.join()
            self._process = None

    def _knock(self) -> None:
        """Return if somebody listens at the address: Ray takes a minute to find out that nobody does."""
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()
        except OSError as error:
            raise ClusterUnavailable(f"Ray at {self._address}: {error.strerror or error}; is its head there?") from None

    def _call(self, operation: str, *arguments: Any) -> Any:
        self.connect()
        assert self._connection is not None
        with contextlib.suppress(BrokenPipeError):  # that it is gone is seen below
            self._connection.send((operation, arguments))
        return self._receive(CALL_SECONDS)

    def _receive(self, seconds: float) -> Any:
        assert self._connection is not None
        try:
            is_there = self._connection.poll(seconds)
            refused, answer = self._connection.recv() if is_there else (f"no answer within {seconds:.0f} s", None)
        except (EOFError, OSError):
            refused, answer = "the connection was lost", None
            is_there = False
        if refused is None:
            return answer
        if not is_there or answer == _LOST:
            self.close()
        raise ClusterUnavailable(f"Ray at {self._address}: {refused}")


_LOST = "lost"
"""Said beside an error after which the process is of no further use."""


def _speak(connection: Connection, address: str, namespace: str) -> None:
    # Ctrl-C is for the service, which closes the connection
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        actors = _Actors(address, namespace)
    except Exception as error:  # Ray raises many kinds
        connection.send((_in_short(error), _LOST))
        return
    # until the service closes the connection, or dies
    with contextlib.suppress(EOFError, BrokenPipeError):
        connection.send((None, None))
        while True:
            operation, arguments = connection.recv()
            connection.send(_outcome(getattr(actors, operation), arguments))


def _outcome(call: Callable[..., Any], arguments: Sequence[Any]) -> tuple[str | None, Any]:
    try:
        return None, call(*arguments)
    except Exception as error:
        return _in_short(error), None


class _Actors:
    """What the process that speaks with the cluster holds: the driver of Ray, and its questions to actors."""

    def __init__(self, address: str, namespace: str) -> None:
        ray.init(address=address, namespace=namespace, log_to_driver=False, logging_level=logging.ERROR)
        self._asked: dict[str, Any] = {}
        """Questions to actors that have not been answered, by the actors' names."""
        self._removed: set[str] = set()
        """Actors that were killed, and that the cluster may list for a moment still."""

    def look(self) -> dict[str, Found]:
        names = ray.util.list_named_actors()
        self._removed.intersection_update(names)
        for name in names:
            if name not in self._asked:
                with contextlib.suppress(ValueError):  # it has gone meanwhile
                    self._asked[name] = ray.get_actor(name).report.remote()
        questions = list(self._asked.values())
        answered, _ = ray.wait(questions, num_returns=len(questions), timeout=_LOOK_SECONDS) if questions else ([], [])
        found = {name: self._answer(name) if ref in answered else None for name, ref in list(self._asked.items())}
        return {
            name: answer for name, answer in found.items() if not (isinstance(answer, Gone) and name in self._removed)
        }

    def _answer(self, name: str) -> Found:
        try:
            report: Report = ray.get(self._asked.pop(name))
        except ray.exceptions.ActorUnavailableError:
            return None  # its node does not answer; Ray says soon whether it is lost
        except ray.exceptions.RayError as error:
            return Gone(_in_short(error))
        return report

    def create(self, name: str, plan: str, needs: Needs) -> None:
        made = ray.remote(WorkerActor).options(
            name=name,
            lifetime="detached",
            num_cpus=needs.num_cpus,
            num_gpus=needs.num_gpus,
            resources=dict(needs.resources),
            runtime_env=dict(needs.runtime_env),
            # a second run of a worker, or of its start, is ours to decide
            max_restarts=0,
            max_task_retries=0,
        )
        with contextlib.suppress(ray.exceptions.ActorAlreadyExistsError):
            self._asked[name] = made.remote(plan).report.remote()

    def start(self, name: str, worker_id: str, arguments: Sequence[str], environment: Mapping[str, str]) -> Report:
        started = ray.get_actor(name).start.remote(worker_id, arguments, environment)
        report: Report = ray.get(started, timeout=_START_SECONDS)
        return report

    def end(self, name: str) -> None:
        with contextlib.suppress(ValueError):
            ray.get_actor(name).end.remote()

    def remove(self, name: str) -> None:
        self._asked.pop(name, None)
        self._removed.add(name)
        with contextlib.suppress(ValueError):
            ray.kill(ray.get_actor(name), no_restart=True)


def _in_short(error: Exception) -> str:
    """Return the first and the last line of an error, between which Ray has its stack traces."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " … ".join(dict.fromkeys([lines[0], lines[-1]])) if lines else type(error).__name__
