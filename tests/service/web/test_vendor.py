"""Libraries of others that pages load: they are what was published, and carry their licences."""

import hashlib
from pathlib import Path

_VENDOR = Path(__file__).parents[3] / "service" / "web" / "static" / "vendor"


def _listed() -> dict[str, str]:
    lines = (_VENDOR / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def test_each_file_of_others_is_listed_with_its_hash() -> None:
    files = {path.relative_to(_VENDOR).as_posix(): path for path in _VENDOR.rglob("*") if path.is_file()}
    del files["SHA256SUMS"]
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == _listed()


def test_each_library_of_others_has_its_licence_beside_it() -> None:
    assert {name.split("/")[0] for name in _listed()} == {name.split("/")[0] for name in _listed() if "LICENSE" in name}
