"""The replay of a trial: it is run again from its manifest, and its numbers are compared with those on the record."""

from datetime import datetime
from typing import Literal

from spezia.contract.failure import Failure
from spezia.contract.protocol import DeviceKind
from spezia.contract.study_spec import Params
from spezia.contract.wire import Count, Reply

ReplayState = Literal["waiting", "running", "ended"]
"""States of a replay: it waits for a worker, a worker carries it out, or it has a result."""

Verdict = Literal["equal", "within_tolerance", "different", "not_comparable"]
"""What a replay says of a trial's numbers: they came out again to the last bit; within the tolerance; as others; or
they could not be compared."""


class Manifest(Reply):
    """Everything that decides a trial's numbers besides the machine that it runs on."""

    params: Params
    """Params of the trial, searched and fixed ones together."""
    seed: int
    """Seed of the study; with the trial's number it decides head, dropout and the order of the data."""
    precision: Literal["fp32", "bf16"]
    """Number format in which the trial trains."""
    model_sha256: str
    """SHA-256 of the files of the model; empty for a script."""
    model_commit: str | None
    """Commit of the model on the hub; null for a directory and for a script."""
    data_sha256: str
    """SHA-256 of the rows of all splits; of a script, of its file."""


class Machine(Reply):
    """What a trial or its replay ran on."""

    device: str
    """Name of the device."""
    device_kind: DeviceKind | None
    """Kind of device; null of attempts that are older than its record."""
    versions: dict[str, str]
    """Versions of Python and of the libraries, by name; empty of attempts that are older than their record."""


class Difference(Reply):
    """A number of a trial that came out otherwise in its replay."""

    step: Count
    """Number of the evaluation within the trial, from 1."""
    metric: str
    """Name of the metric."""
    recorded: float
    """Number on the trial's record."""
    replayed: float
    """Number of the replay."""
    relative: float
    """Distance of the two, as a share of the larger one or of 0.001, whichever is more."""


class Comparison(Reply):
    """The result of a replay."""

    verdict: Verdict
    """What became of the numbers.

    - ``equal``: all are the same to the last bit.
    - ``within_tolerance``: all are the same within ``tolerance``.
    - ``different``: some are not, or the replay ended otherwise than the trial did.
    - ``not_comparable``: the replay could not be carried out as far as the trial; the reasons say why.
    """
    sentence: str
    """The result in words."""
    reasons: list[str]
    """Reasons why numbers could not be compared, or likely reasons why they differ; empty where they are equal."""
    tolerance: float
    """Largest relative difference that counts as the same."""
    n_recorded: Count
    """Number of evaluations on the trial's record."""
    n_compared: Count
    """Number of these that the replay has made, too."""
    first_difference: Difference | None
    """First number outside the tolerance, by step; null where there is none."""
    largest_difference: Difference | None
    """Number with the largest relative difference; null where all numbers are equal."""
    failure: Failure | None
    """Failure in which the replay ended; null where it did not fail."""
    replayed_on: Machine | None
    """What the replay ran on; null where no worker ran it."""


class Replay(Reply):
    """A trial's replay as it is now."""

    study: str
    """Name of the study."""
    number: Count
    """Number of the trial within its study, from 0."""
    state: ReplayState
    """State of the replay."""
    manifest: Manifest
    """What the trial is run again from."""
    recorded_on: Machine
    """What the trial ran on, in the attempt that ended it."""
    requested_at: datetime
    """Time at which the replay was asked for."""
    ended_at: datetime | None
    """Time at which the replay ended; null until then."""
    device_seconds: float
    """Device seconds that the ended attempts at the replay have used."""
    result: Comparison | None
    """Result of the replay; null until it has ended."""
