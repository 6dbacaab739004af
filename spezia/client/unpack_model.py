"""Unpack the tar of a model, of which nothing is believed: only files that a model may have are written."""

import re
import shutil
import tarfile
from pathlib import Path

from spezia.client.errors import BadModel
from spezia.contract.model_files import FILE_PATTERN


def unpack_model(archive: Path, folder: Path) -> Path:
    """Write the files of a model, which lie in one folder of a tar, to the new folder ``folder``; return it.

    Raises:
        BadModel: The tar is broken, or holds a link, a device, a file whose name no file of a model may have, or none.
    """
    folder.mkdir()
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                top, _, path = member.name.partition("/")
                if not top or not member.isfile() or not re.fullmatch(FILE_PATTERN, path) or (folder / path).exists():
                    raise BadModel(
                        f"the model has {member.name!r}, which no file of a model may be; it is not unpacked"
                    )
                (folder / path).parent.mkdir(exist_ok=True)
                content = tar.extractfile(member)
                assert content is not None
                with (folder / path).open("xb") as file:
                    shutil.copyfileobj(content, file)
    except tarfile.TarError as broken:
        raise BadModel(f"the model arrived broken ({broken}); fetch it again") from None
    if not any(folder.iterdir()):
        raise BadModel("the model has no files; the service may have removed it meanwhile")
    return folder
