"""Why a trial or a study failed: every class of failure, and its message."""

from typing import Literal

from spezia.contract.wire import Reply

FailureClass = Literal[
    "out_of_memory",
    "diverged",
    "device_error",
    "host_out_of_memory",
    "data_error",
    "config_error",
    "disk_full",
    "lost",
    "preempted",
    "no_metric",
    "exception",
    "stalled",
    "cancelled",
    "budget",
]
"""Every class of failure; clients match these, never the message."""


class Failure(Reply):
    """Why a trial or a study failed."""

    failure_class: FailureClass
    """Class of the failure.

    - ``out_of_memory``: even a micro-batch of one example does not fit into the device's memory.
    - ``diverged``: a loss or another reported number is NaN or infinite.
    - ``device_error``: the GPU reported an error of its own.
    - ``host_out_of_memory``: the worker's machine has run out of main memory.
    - ``data_error``: the data cannot be used; the message names file and row.
    - ``config_error``: the model, a param or a setting cannot be used; the message names the field.
    - ``disk_full``: the worker's disk is full.
    - ``lost``: the worker is gone and its lease has expired.
    - ``preempted``: the worker was told to stop, or another trial broke its process.
    - ``no_metric``: the trial has ended without any evaluation.
    - ``exception``: any other error; the message and the trial's log say which.
    - ``stalled``: nothing has moved for longer than the worker's stall detector allows.
    - ``cancelled``: a person has cancelled the trial, or has ended its study.
    - ``budget``: the study's time or device seconds were used up.
    """
    message: str
    """What happened and what to do, for people."""
