"""Archives that lie, or are broken anywhere, are refused, and nothing else is raised."""

import gzip
import io
import zipfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spezia.common.archives import BadArchive, Kind, open_archive

CONTENT = b"text,label\nwhat a film,good\n" * 50


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/train.csv", CONTENT)
    return stream.getvalue()


PACKED: dict[Kind, bytes] = {"gzip": gzip.compress(CONTENT, mtime=0), "zip": zipped()}


def unpack(packed: bytes, kind: Kind) -> bytes:
    with open_archive(io.BytesIO(packed), kind) as (_, pieces):
        return b"".join(pieces)


@pytest.mark.parametrize("kind", PACKED)
def test_the_file_in_an_archive_comes_out(kind: Kind) -> None:
    assert unpack(PACKED[kind], kind) == CONTENT


@pytest.mark.parametrize("kind", PACKED)
@given(data=st.data())
def test_a_broken_archive_gives_its_content_or_is_refused(kind: Kind, data: st.DataObject) -> None:
    packed = bytearray(PACKED[kind])
    for place in data.draw(st.lists(st.integers(0, len(packed) - 1), min_size=1, max_size=3)):
        packed[place] = data.draw(st.integers(0, 255))
    with suppress(BadArchive):
        assert unpack(bytes(packed[: data.draw(st.integers(1, len(packed)))]), kind) in (CONTENT, b"")
