"""Why a trial or a study failed."""

from typing import Literal

from spezia.contract.wire import Reply


class Failure(Reply):
    failure_class: Literal[
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
    message: str
