import contextlib
import io
import tarfile
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spezia import Client
from spezia.client.errors import BadModel
from spezia.client.unpack_model import unpack_model
from spezia.common.model_tar import tar
from tests.service.replies import ScriptedService


def member(name: str, kind: bytes = tarfile.REGTYPE, linked: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linked
    return info


def write_tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for one in members:
            archive.addfile(one, io.BytesIO(b""))
    return path


def model_bytes(folder: Path) -> bytes:
    files = {"config.json": folder / "c", "adapter/adapter_config.json": folder / "a"}
    for path in files.values():
        path.write_text(path.name)
    return b"".join(tar(files, "toy"))


def client_that_sends(content: bytes) -> Client:
    service = ScriptedService({"GET /v1/studies/toy/best/model": httpx2.Response(200, content=content)})
    return Client("http://spezia.test", transport=service.transport())


def test_a_model_is_a_folder_of_its_files(tmp_path: Path) -> None:
    folder = client_that_sends(model_bytes(tmp_path)).best_model("toy", tmp_path / "new" / "toy")
    assert (folder / "config.json").read_text() == "c"
    assert (folder / "adapter" / "adapter_config.json").read_text() == "a"
    assert [path.name for path in folder.parent.iterdir()] == ["toy"]


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    with pytest.raises(FileExistsError, match="give another folder"):
        client_that_sends(model_bytes(tmp_path)).best_model("toy", tmp_path / "toy")
    assert list((tmp_path / "toy").iterdir()) == []


@pytest.mark.parametrize(
    "bad",
    [
        member("toy/../../outside"),
        member("/etc/passwd"),
        member("toy//etc/passwd"),
        member("toy/.hidden"),
        member("toy/a/b/c"),
        member("toy/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("toy/link", tarfile.LNKTYPE, "toy/config.json"),
        member("toy/device", tarfile.CHRTYPE),
        member("toy/pipe", tarfile.FIFOTYPE),
        member("toy/config.json"),
        member("no-folder"),
    ],
    ids=lambda info: info.name,
)
def test_what_no_file_of_a_model_may_be_is_refused_and_nothing_is_kept(bad: tarfile.TarInfo, tmp_path: Path) -> None:
    content = write_tar(tmp_path / "bad.tar", member("toy/config.json"), bad).read_bytes()
    (tmp_path / "here").mkdir()
    with pytest.raises(BadModel, match="no file of a model may be"):
        client_that_sends(content).best_model("toy", tmp_path / "here" / "toy")
    assert list((tmp_path / "here").iterdir()) == []


def test_an_empty_archive_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="no files"):
        unpack_model(write_tar(tmp_path / "empty.tar"), tmp_path / "model")


@given(st.integers(1, 2_000), st.binary(max_size=40))
def test_a_broken_archive_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes) -> None:
    folder = tmp_path_factory.mktemp("broken")
    whole = model_bytes(folder)
    (folder / "broken.tar").write_bytes(whole[: min(cut, 1_500)] + noise)
    with contextlib.suppress(BadModel):  # cut at the end of a file it is whole
        unpack_model(folder / "broken.tar", folder / "model")
