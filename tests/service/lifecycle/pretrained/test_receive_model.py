"""Whatever bytes come, a model is taken in whole, or refused with a reason, and nothing of it is left."""

import io
import json
import struct
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import Invalid, TooLarge
from service.lifecycle.pretrained.check_model import check_model
from service.lifecycle.pretrained.receive_model import ModelUpload

MAX_BYTES = 10_000
HEADER = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": struct.pack("<Q", len(HEADER)) + HEADER + bytes(4),
    "vocab.txt": b"",
}


def packed() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in FILES.items():
            member = tarfile.TarInfo(f"model/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return sink.getvalue()


TAR = packed()
PIECES = st.lists(st.integers(1, 3000), max_size=6)


def take(folder: Path, content: bytes, cuts: list[int]) -> dict[str, bytes] | None:
    """Take a model in, in pieces of these sizes and the rest; its files, or ``None`` if it is refused."""
    upload = ModelUpload(folder, MAX_BYTES)
    try:
        for size in cuts:
            upload.write(content[:size])
            content = content[size:]
        upload.write(content)
        upload.end()
        check_model(upload.path)
        return {path.name: path.read_bytes() for path in upload.path.iterdir()}
    except (Invalid, TooLarge):
        return None
    finally:
        upload.discard()
        assert list(folder.iterdir()) == []


@settings(max_examples=15, deadline=None)
@given(cuts=PIECES)
def test_a_model_is_the_same_in_whatever_pieces_it_comes(cuts: list[int]) -> None:
    with TemporaryDirectory() as folder:
        assert take(Path(folder), TAR, cuts) == FILES


@settings(max_examples=30, deadline=None)
@given(at=st.integers(0, 3583), put=st.binary(min_size=1, max_size=40), end=st.integers(0, len(TAR)), cuts=PIECES)
def test_a_damaged_tar_is_a_model_or_refused(at: int, put: bytes, end: int, cuts: list[int]) -> None:
    damaged = TAR[:at] + put + TAR[at + len(put) :]
    with TemporaryDirectory() as folder:
        taken = take(Path(folder), damaged[: max(end, 2000)], cuts)
        assert taken is None or taken.keys() == FILES.keys()


TENSORS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["w", "data_offsets", "a"]), inner),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(header=TENSORS | st.binary(max_size=40))
def test_weights_of_any_header_are_refused_with_a_reason(header: object) -> None:
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_bytes(FILES["config.json"])
        (Path(folder) / "model.safetensors").write_bytes(struct.pack("<Q", len(written)) + written + b"!")
        with pytest.raises(Invalid):
            check_model(Path(folder))
