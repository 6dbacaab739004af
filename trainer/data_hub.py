"""Reads the two columns of a data set on the hub."""

import re

import datasets

from service.contract.study import Columns
from trainer.data_files import RawColumns, check_columns
from trainer.errors import DataError

PREFIX = "hub://"
_PATTERN = re.compile(r"hub://(?P<name>[^/:#]+/[^/:#]+)(?::(?P<config>[^#]+))?#(?P<split>.+)")


def read_hub(source: str, columns: Columns) -> RawColumns:
    """Read a split, ``hub://owner/name[:config]#split``; class ids become their names.

    Raises:
        DataError: malformed address, unknown data set, config, split or column, or no connection.
    """
    match = _PATTERN.fullmatch(source)
    if match is None:
        raise DataError(f"{source} is not an address of a data set; write hub://owner/name[:config]#split")
    try:
        rows = datasets.load_dataset(match["name"], match["config"], split=match["split"])
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{source} cannot be read: {error}. Correct the address, or download it and give a file"
        ) from error
    check_columns(source, rows.column_names, columns)
    labels = rows[columns.label]
    feature = rows.features[columns.label]
    if isinstance(feature, datasets.ClassLabel):
        # -1 is how data sets on the hub say that an example has no label
        labels = [feature.int2str(label) if label is not None and label >= 0 else None for label in labels]
    return RawColumns(list(rows[columns.text]), list(labels))
