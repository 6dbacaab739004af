"""A service whose files are in a bucket, as real processes: a study ends, its model is fetched, no secret is told."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from spezia.client import Client
from spezia.common.home_lock import find
from spezia.contract.best_trial import BestTrial
from tests import fake_engine
from tests.bucket import BUCKET, S3, SECRET, s3
from tests.e2e.test_keys import seen_of, start
from tests.e2e.test_kill import eventually, parent_of
from tests.trainer import tiny

pytestmark = pytest.mark.slow

TOKEN = "a-session-token-that-nobody-else-says"


@pytest.fixture
def store() -> Iterator[S3]:
    with s3() as running:
        yield running


def artifacts(store: S3) -> list[str]:
    return [key for key in store.object_keys() if key.startswith("kept/artifacts/")]


def test_a_study_whose_model_is_kept_in_a_bucket(store: S3, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPEZIA_", "AWS_"))}
    environment |= {"SPEZIA_HOME": str(tmp_path / "home"), "SPEZIA_FILES_URL": f"s3://{BUCKET}/kept"}
    environment |= {"SPEZIA_LOG_LEVEL": "debug", **store.environment, "AWS_SESSION_TOKEN": TOKEN}
    pid_file, output, script = tmp_path / "engine.pid", tmp_path / "output", tmp_path / "script.json"
    script.write_text(json.dumps({"trials": {"0": [{"pid": str(pid_file)}, {"evaluate": 0.5, "final": True}]}}))
    serving = start(environment, script, output)
    try:
        url = eventually(lambda: (running := find(tmp_path / "home")) and running.url)
        with Client(url) as client:
            client.create_study(tiny.make_spec(name="kept", sampler={"name": "random"}, n_trials=2))
            eventually(lambda: client.get_study("kept").finished_at)
            best = client.best("kept")
            assert isinstance(best, BestTrial)
            assert best.model_directory is None
            eventually(lambda: any(key.endswith("/README.md") for key in artifacts(store)))
            folder = client.best_model("kept", tmp_path / "model")
            assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "README.md"} == (
                fake_engine.MODEL
            )
            seen = [output.read_text()]
            engine = int(pid_file.read_text())
            for process in (engine, parent_of(engine)):
                assert "AWS_" not in seen_of(process, "environ")
            client.delete("kept")
            eventually(lambda: artifacts(store) == [])
    finally:
        serving.terminate()
        serving.wait(60)
    seen.append(output.read_text())
    for secret in (SECRET, TOKEN):
        assert not [one for one in seen if secret in one]
