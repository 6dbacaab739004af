"""Uploaded data sets on their way to an engine that knows no HTTP."""

import hashlib
from pathlib import Path

import pytest

from spezia.contract.assignments import PrepareAssignment
from spezia.contract.study_spec import StudySpec
from tests.conftest import START
from tests.power_cut import PowerCut
from tests.trainer import tiny
from trainer.supervisor.client import ServiceUnavailable
from trainer.supervisor.dataset_downloads import with_local_data

CSV = b"text,label\na,b\n"
SHA256 = hashlib.sha256(CSV).hexdigest()


def assignment(spec: StudySpec) -> PrepareAssignment:
    return PrepareAssignment(
        lease_id="0" * 32, token="1" * 32, expires_at=START, attempt=1, study="toy", study_id="2" * 32, spec=spec
    )


def named(train: str) -> StudySpec:
    spec = tiny.make_spec(name="toy")
    return spec.model_copy(update={"data": spec.data.model_copy(update={"train": train})})


class Service:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.n_fetched = 0

    def fetch(self, sha256: str, destination: Path) -> str:
        self.n_fetched += 1
        destination.write_bytes(self.content)
        return "text/csv; charset=utf-8"


def test_an_upload_becomes_a_file_once_for_all_assignments(tmp_path: Path) -> None:
    service = Service(CSV)
    for _ in range(2):
        local = with_local_data(assignment(named(f"sha256:{SHA256}")), tmp_path / "cache", service.fetch)
        path = Path(local.spec.data.train)
        assert (path.suffix, path.read_bytes()) == (".csv", CSV)
    assert service.n_fetched == 1
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [f"{SHA256}.csv"]


def test_what_is_no_upload_stays_as_it_is(tmp_path: Path) -> None:
    given = assignment(named("train.csv"))
    assert with_local_data(given, tmp_path, Service(b"").fetch) == given


def test_a_damaged_download_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(ServiceUnavailable, match="came as"):
        with_local_data(assignment(named(f"sha256:{SHA256}")), tmp_path, Service(CSV[:-1]).fetch)
    assert list(tmp_path.iterdir()) == []


def test_a_power_cut_tears_no_download(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with PowerCut.of(disk) as power_cut:
        with_local_data(assignment(named(f"sha256:{SHA256}")), disk, Service(CSV).fetch)
        left = power_cut.most(tmp_path / "left")
    assert [file.read_bytes() for file in left.iterdir()] == [CSV]
