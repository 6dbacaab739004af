"""Where the files of pages are found."""

import pytest

from service.web.static_files import static_url


def test_an_unknown_file_is_an_error_where_it_is_named() -> None:
    with pytest.raises(KeyError, match="no file service/web/static/none"):
        static_url("none.js")
