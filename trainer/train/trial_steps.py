"""Takes the optimizer steps of one trial, as graphs where the device has such.

B = rows of a batch.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from trainer.data.class_weights import ClassWeights
from trainer.data.device_copies import to_device
from trainer.data.tokenised_split import Batch
from trainer.model.device import seed_device
from trainer.model.device_memory import is_out_of_memory
from trainer.model.micro_batch_size import MicroBatchSize
from trainer.train.optimizer import take_step
from trainer.train.prepare import Prepared
from trainer.train.step_graphs import CudaGraphs, Inputs, Record, StepGraphs
from trainer.train.train_step import accumulate_gradients, add_gradients, divisors
from trainer.trial.config import TrialConfig

_OF_BATCH = ("targets", "rows_B", "starts_B", "next_N", "hidden_BTD")
"""Names of what a batch has besides the inputs of the model."""
_OWN = (*_OF_BATCH, "n_targets", "divisor")
"""Names of the inputs of a step that are not those of the model."""


def recorder(device: torch.device, config: TrialConfig) -> Record | None:
    """Return what records a trial's steps; ``None`` where nothing can.

    Gradient checkpointing reads the state of the device's random numbers, which cannot be recorded.
    """
    return CudaGraphs() if device.type == "cuda" and not config.gradient_checkpointing else None


class TrialSteps:
    """The optimizer steps of a trial: each in one pass, or in as many as memory needs."""

    def __init__(
        self,
        prepared: Prepared,
        config: TrialConfig,
        model: PreTrainedModel,
        optimizer: torch.optim.AdamW,
        micro_batch: MicroBatchSize,
        select: Callable[[torch.Tensor], None],
    ) -> None:
        """
        Args:
            select: announces what the frozen blocks put out for the rows of the next forward pass.
        """
        self._prepared = prepared
        self._config = config
        self._model = model
        self._optimizer = optimizer
        self._micro_batch = micro_batch
        self._select = select
        self._class_weights = _class_weights(prepared)
        record = recorder(prepared.device, config)
        self._graphs = StepGraphs(record) if record else None

    def take(self, rows_B: NDArray[np.int64], seed: int) -> torch.Tensor:
        """Move the parameters by the gradients of the batch ``rows_B``.

        Args:
            seed: decides what is dropped out.

        Returns:
            The mean training loss of the batch in nats; a scalar on the device.
        """
        longest = int(self._prepared.train.lengths_N[rows_B].max())
        if self._graphs is not None and self._micro_batch.rows(len(rows_B), longest) == len(rows_B):
            try:
                seed_device(seed, self._model.device)
                return self._graphs.run(self._whole_step, self._inputs(rows_B))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Not in the handler: the error's traceback holds the tensors of the failed step
            self._graphs.stop_recording()
            self._graphs = None
        loss = self._micro_batch.run(partial(self._gradients, rows_B, seed), n_rows=len(rows_B), longest=longest)
        take_step(self._optimizer, self._config.max_grad_norm)
        self._optimizer.zero_grad()
        return loss

    def forget_graphs(self) -> None:
        """Record anew, because other parameters train from now on."""
        if self._graphs is not None:
            self._graphs.forget()

    def _gradients(self, rows_B: NDArray[np.int64], seed: int, n_rows: int) -> torch.Tensor:
        self._optimizer.zero_grad()  # of a try that ran out of memory
        seed_device(seed, self._model.device)
        return accumulate_gradients(
            self._model,
            self._prepared.task,
            self._prepared.train,
            rows_B,
            self._prepared.facts.precision,
            micro_batch_size=n_rows,
            label_smoothing=self._config.label_smoothing,
            class_weights=self._class_weights,
        )

    def _inputs(self, rows_B: NDArray[np.int64]) -> Inputs:
        batch = self._prepared.train.collate(rows_B, self._model.device)
        both = torch.tensor(divisors(self._prepared.train, rows_B, self._class_weights))
        n_targets, divisor = to_device(both, self._model.device).unbind()
        of_batch = {name: tensor for name in _OF_BATCH if (tensor := getattr(batch, name)) is not None}
        return batch.inputs | of_batch | {"n_targets": n_targets, "divisor": divisor}

    def _whole_step(self, inputs: Inputs) -> torch.Tensor:
        of_model = {name: tensor for name, tensor in inputs.items() if name not in _OWN}
        batch = Batch(inputs=of_model, **{name: inputs[name] for name in _OF_BATCH if name in inputs})
        if batch.hidden_BTD is not None:
            self._select(batch.hidden_BTD)
        self._optimizer.zero_grad()
        loss = add_gradients(
            self._model,
            self._prepared.task,
            batch,
            self._prepared.facts.precision,
            n_targets=inputs["n_targets"],
            divisor=inputs["divisor"],
            label_smoothing=self._config.label_smoothing,
            class_weights=self._class_weights,
        )
        take_step(self._optimizer, self._config.max_grad_norm)
        self._optimizer.zero_grad()
        return loss


def _class_weights(prepared: Prepared) -> ClassWeights | None:
    if prepared.class_weights_C is None:
        return None
    return ClassWeights.of(prepared.class_weights_C, prepared.train, prepared.device)
