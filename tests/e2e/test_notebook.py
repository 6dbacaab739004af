"""The notebook of the examples, executed from top to bottom beside a real service."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from service.cli.local_service import local_service
from service.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_the_notebook_runs_to_the_best_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shutil.copytree(EXAMPLES, tmp_path / "examples")
    notebook = nbformat.read(folder / "notebook.ipynb", as_version=4)
    with local_service(Settings(home=tmp_path / "home", n_workers=1), [folder]) as (url, _):
        monkeypatch.setenv("SPEZIA_SERVER", url)
        NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    assert "'complete'" in texts
    assert any("datetime_complete" in text and "params_learning_rate" in text for text in texts)
    assert any("defaults:" in text for text in texts)
    assert (folder / "notebook" / "model.safetensors").is_file()
