"""Where a service keeps uploaded files, by its settings."""

from pathlib import Path

from service.files.bucket_files import BadBucket, open_bucket
from service.files.files import Files
from service.files.folder_files import FolderFiles
from service.settings import Settings


def open_files(settings: Settings) -> Files:
    """Return the files of a service: in a bucket if ``files_url`` names one, else in a folder.

    Raises:
        BadBucket: The bucket cannot be used; the message says which setting to mend.
    """
    return files_at(settings.files_url or str(settings.files), settings.files)


def files_at(place: str, folder: Path) -> Files:
    """Return the files at a URL ``s3://BUCKET/PREFIX`` or in a folder.

    Args:
        folder: Folder of this machine, below which uploads are written before they are sent to a bucket.

    Raises:
        BadBucket: The bucket cannot be used, or the URL is of another kind.
    """
    if place.startswith("s3://"):
        return open_bucket(place, folder / "incoming")
    if "://" in place:
        raise BadBucket(f"{place}: files are kept in a folder, or in a bucket s3://BUCKET/PREFIX")
    return FolderFiles(Path(place))
