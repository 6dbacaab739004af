"""Where the files of pages are found."""

import hashlib
from pathlib import Path

import pytest

from service.web.static_files import static_url


def test_an_unknown_file_is_an_error_where_it_is_named() -> None:
    with pytest.raises(KeyError, match="no file service/web/static/none"):
        static_url("none.js")


def test_swagger_ui_is_what_was_published_and_carries_its_licence() -> None:
    folder = Path(__file__).parents[3] / "service" / "web" / "static" / "swagger-ui"
    listed = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    assert "LICENSE" in [name for _, name in listed]
    files = [path for path in sorted(folder.iterdir()) if path.name != "SHA256SUMS"]
    assert [[hashlib.sha256(path.read_bytes()).hexdigest(), path.name] for path in files] == listed
