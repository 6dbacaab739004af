"""Optimizer steps recorded as CUDA graphs.

A small model's step launches hundreds of kernels, each of which takes the host longer than the device: MiniLM's 612
took 22 ms where their arithmetic takes 0.3 (one H100, benchmarks/results/gpu_check-h100-first.json). A graph launches
all of them by one call. It holds for the very tensors that it was recorded with, so each step copies its batch there.
"""

import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch.utils.hooks import RemovableHandle

from trainer.model.device_memory import release_memory

Inputs = Mapping[str, torch.Tensor]
"""All that differs from one step to the next, by name: tensors on the device."""

Step = Callable[[Inputs], torch.Tensor]
"""Takes a step and returns its loss, without reading anything from the device."""

_Shapes = tuple[tuple[str, torch.Size], ...]

_REPLAY_HOOKS: OrderedDict[int, Callable[[], None]] = OrderedDict()

MAX_GRAPHS = 64
"""Graphs of one trial. Batches of a language model may differ in length and number of targets, so that hardly two have
one shape; each graph keeps the places of its kernels and its inputs."""

_LOG = logging.getLogger(__name__)


def register_replay_post_hook(hook: Callable[[], None]) -> RemovableHandle:
    """Let ``hook`` be called after each step that is replayed: no code of the optimizer runs then, so that those of
    ``register_optimizer_step_post_hook`` are not called."""
    handle = RemovableHandle(_REPLAY_HOOKS)
    _REPLAY_HOOKS[handle.id] = hook
    return handle


class Recorded(Protocol):
    """A step that can be taken again with inputs of the same shapes."""

    def replay(self, inputs: Inputs) -> torch.Tensor:
        """Take the step with ``inputs``, and return its loss, which the next replay leaves as it is."""


Record = Callable[[Step, Inputs], Recorded]
"""Records a step without taking it. It may only do so after a step of the same shapes was taken."""


class StepGraphs:
    """Takes a trial's steps: the first of each shape by itself, and later ones as a graph.

    Where a step cannot be recorded, as where memory is short or a model reads numbers from the device, all steps are
    taken by themselves, with the same results. So are those of a model that draws random numbers on the host, such as
    which layers to leave out: a graph would leave out the same ones at each step.
    """

    def __init__(self, record: Record) -> None:
        self._record: Record | None = record
        self._met: set[_Shapes] = set()
        self._recorded: dict[_Shapes, Recorded] = {}

    def run(self, step: Step, inputs: Inputs) -> torch.Tensor:
        """Take a step and return its loss.

        Args:
            step: does the same with the same inputs until ``forget`` is called.
        """
        shapes = tuple((name, tensor.shape) for name, tensor in inputs.items())
        if shapes in self._met and shapes not in self._recorded:
            self._try_to_record(shapes, step, inputs)
        if shapes in self._recorded:
            loss = self._recorded[shapes].replay(inputs)
            for hook in _REPLAY_HOOKS.values():
                hook()
            return loss
        self._met.add(shapes)
        host_state = torch.default_generator.get_state()
        loss = step(inputs)
        if not torch.equal(host_state, torch.default_generator.get_state()):
            self._give_up("the model draws random numbers on the host")
        return loss

    def forget(self) -> None:
        """Forget what was recorded, and free its memory."""
        self._met.clear()
        if self._recorded:
            self._recorded.clear()
            release_memory()

    def stop_recording(self) -> None:
        """Forget what was recorded, and take all further steps by themselves."""
        self._record = None
        self.forget()

    @property
    def n_recorded(self) -> int:
        """Number of graphs."""
        return len(self._recorded)

    def _try_to_record(self, shapes: _Shapes, step: Step, inputs: Inputs) -> None:
        if self._record is None or len(self._recorded) == MAX_GRAPHS:
            return
        try:
            self._recorded[shapes] = self._record(step, inputs)
            return
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
        # Not in the handler: the error's traceback holds the tensors of the failed step
        self._give_up(reason)

    def _give_up(self, reason: str) -> None:
        if self._record is not None:
            _LOG.warning("steps are not recorded as CUDA graphs: %s", reason)
        self.stop_recording()


class CudaGraphs:
    """Records steps as CUDA graphs, which share their memory, since only one of them runs at a time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Step, inputs: Inputs) -> Recorded:
        """Record ``step``.

        Raises:
            RuntimeError: it cannot be recorded, or memory is short.
        """
        placed = {name: tensor.clone() for name, tensor in inputs.items()}
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.stream(_recording_stream()):
            # Threads of ours that copy from the device meanwhile do not end the recording
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                try:
                    loss = step(placed)
                finally:
                    graph.capture_end()
            except RuntimeError:
                self._end_recording()
                raise
        return _CudaGraph(graph, placed, loss)

    def _end_recording(self) -> None:
        """Let random numbers and memory be what they were before a recording that failed.

        ``capture_end`` raises then before it has ended either (pytorch#171263).
        """
        device = torch.cuda.current_device()
        fresh = torch.Generator(device="cuda").graphsafe_get_state()
        torch.cuda.default_generators[device].graphsafe_set_state(fresh)
        torch._C._cuda_endAllocateToPool(device, self._pool)


@functools.cache
def _recording_stream() -> torch.cuda.Stream:
    """The stream that all steps are recorded on: cuBLAS keeps memory for every one that it has ever met."""
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


class _CudaGraph:
    def __init__(self, graph: torch.cuda.CUDAGraph, placed: Inputs, loss: torch.Tensor) -> None:
        self._graph = graph
        self._placed = placed
        self._loss = loss

    def replay(self, inputs: Inputs) -> torch.Tensor:
        for name, tensor in inputs.items():  # not torch._foreach_copy_, which mixes up dtypes (pytorch#173383)
            self._placed[name].copy_(tensor)
        self._graph.replay()
        return self._loss.clone()
