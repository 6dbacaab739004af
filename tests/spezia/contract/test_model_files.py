"""Paths of a model's files, as workers upload them and as people ask for them."""

import re

import pytest

from spezia.contract.model_files import FILE_PATTERN


@pytest.mark.parametrize("file", ["model.safetensors", "adapter/adapter_config.json", "vocab.txt", "a-b_c.model"])
def test_a_file_lies_in_the_models_directory_or_in_a_folder_of_it(file: str) -> None:
    assert re.search(FILE_PATTERN, file)


@pytest.mark.parametrize(
    "file", ["", "..", "../x", "a/../x", "/etc/passwd", "a//b", "a/", "a/b/c", ".hidden", "a/.b", "a\nb"]
)
def test_no_path_leads_out_of_it_or_to_a_hidden_file(file: str) -> None:
    assert not re.search(FILE_PATTERN, file)
