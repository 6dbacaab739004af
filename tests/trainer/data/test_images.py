"""Images are found in folders and tables, decoded once, and named with their row where that fails."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image
from transformers import AutoModelForImageClassification

from tests.trainer import tiny
from trainer.errors import DataError
from trainer.train.prepare import Prepared, prepare


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    tiny.save_family(root / "vit", "vit", AutoModelForImageClassification)
    return root


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    for name, colour in (("cats", 40), ("dogs", 200)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((10, 12, 3), colour + number, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    (tmp_path / "pets" / "cats" / "notes.txt").write_text("not an image")
    return tmp_path / "pets"


IMAGES = {"task": "image-classification", "model": {"name": "vit"}}


def prepare_images(models: Path, folder: Path, **data: Any) -> Prepared:
    named = {"train": folder.name, "validation": None, "test": None} | data
    spec = tiny.make_spec(**IMAGES, data=named, fixed={"batch_size": 2}, training={"similarity": False})
    return prepare(spec, roots=[folder.parent, models], device=tiny.CPU)


def test_a_folder_of_class_folders_is_a_data_set(models: Path, image_folder: Path) -> None:
    prepared = prepare_images(models, image_folder)
    assert prepared.facts.classes == ["cats", "dogs"]
    assert (prepared.facts.train_rows, prepared.facts.validation_rows) == (6, 2)
    assert prepared.train.targets.tolist() == [0, 0, 0, 1, 1, 1]
    batch = prepared.train.collate(np.array([0, 4]), tiny.CPU)
    assert batch.inputs["pixel_values"].shape == (2, 3, tiny.IMAGE_SIZE, tiny.IMAGE_SIZE)


def test_a_table_names_images_relative_to_itself_or_holds_them(models: Path, image_folder: Path) -> None:
    rows = [(f"{name}/{number}.png", name) for name in ("cats", "dogs") for number in range(4)]
    lines = [json.dumps({"image": file, "label": name}) for file, name in rows]
    (image_folder / "table.jsonl").write_text("\n".join(lines))
    held = [{"bytes": (image_folder / file).read_bytes(), "path": None} for file, _ in rows]
    table = pyarrow.table({"image": held, "label": [name for _, name in rows]})
    pyarrow.parquet.write_table(table, image_folder / "table.parquet")
    folder, *others = (
        prepare_images(models, image_folder, train=train)
        for train in ("pets", "pets/table.jsonl", "pets/table.parquet")
    )
    for other in others:
        assert other.facts.data_sha256 == folder.facts.data_sha256
        np.testing.assert_array_equal(
            other.train.collate(np.arange(6), tiny.CPU).inputs["pixel_values"],
            folder.train.collate(np.arange(6), tiny.CPU).inputs["pixel_values"],
        )


def test_images_turned_by_their_camera_and_without_colour_are_read(tmp_path: Path, models: Path) -> None:
    for name, mode in (("grey", "L"), ("palette", "P"), ("glass", "RGBA")):
        (tmp_path / "all" / name).mkdir(parents=True)
        for number in range(2):
            Image.new(mode, (9 + number, 7)).save(tmp_path / "all" / name / f"{number}.png")
    turned = Image.new("RGB", (8, 4))
    turned.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned.save(tmp_path / "all" / "glass" / "turned.png", exif=exif)
    prepared = prepare_images(models, tmp_path / "all", validation="all")
    assert prepared.facts.train_rows == 7
    pixels_CHW = prepared.train.collate(np.array([2]), tiny.CPU).inputs["pixel_values"][0]
    assert pixels_CHW[0, -1, -1] > pixels_CHW[0, 0, 0]  # the red corner


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GIF89a but no image", r"cats/broken\.png is not a readable image \("),
        (b"", r"cats/broken\.png is not a readable image \("),
        ("half", r"cats/broken\.png is not a readable image \(.*truncated"),
    ],
)
def test_a_broken_image_is_refused_by_row(models: Path, image_folder: Path, content: bytes | str, message: str) -> None:
    stream = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(stream, "PNG")
    half = stream.getvalue()[: len(stream.getvalue()) // 2]
    (image_folder / "cats" / "broken.png").write_bytes(content if isinstance(content, bytes) else half)
    with pytest.raises(DataError, match=rf"^pets, row 5: {message}"):
        prepare_images(models, image_folder, validation="pets")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image": "cats/9.png", "label": "cats"}, "row 9: there is no image cats/9.png, looked for in the folder"),
        ({"image": None, "label": "cats"}, "row 9: there is no image; give its path"),
        ({"image": "cats/1.png", "label": None}, "row 9: there is no label; fill it in"),
        ({"image": "cats/1.png", "label": 0.5}, "row 9: the label 0.5 is neither a name nor a whole number"),
        ({"image": "cats/1.png", "label": ["cats"]}, "row 9: the label ['cats'] is neither a name nor a whole number"),
        ({"image": 7, "label": "cats"}, "row 9: there is no image; give its path"),
        ({"image": "cats/notes.txt", "label": "cats"}, "row 9: cats/notes.txt is not a readable image"),
        ({"image": "../../secret.png", "label": "cats"}, "row 9: pets/../../secret.png lies outside the folders"),
    ],
)
def test_a_missing_image_is_refused_by_row(models: Path, image_folder: Path, row: dict[str, Any], message: str) -> None:
    rows = [{"image": f"{name}/{number}.png", "label": name} for name in ("cats", "dogs") for number in range(4)]
    (image_folder / "table.jsonl").write_text("\n".join(map(json.dumps, [*rows, row])))
    with pytest.raises(DataError, match=re.escape(message)):
        prepare_images(models, image_folder, train="pets/table.jsonl")


def test_a_class_that_train_does_not_know_is_refused_by_row(models: Path, image_folder: Path, tmp_path: Path) -> None:
    for name in ("cats", "gods"):
        (tmp_path / "held" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "held" / name / "0.png")
    with pytest.raises(DataError, match=r"^held, row 2: the label 'gods' does not occur in pets; choose from cats"):
        prepare_images(models, image_folder, validation="held")


def test_a_folder_without_class_folders_is_refused(models: Path, tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "pets" / "0.png")
    with pytest.raises(DataError, match="pets has no folders with images; make one folder for each class"):
        prepare_images(models, tmp_path / "pets")


def test_an_image_seen_in_train_and_validation_is_warned_of(models: Path, image_folder: Path) -> None:
    prepared = prepare_images(models, image_folder, validation="pets")
    assert prepared.facts.warnings == [
        "8 of 8 validation images also occur in train; validation looks better than it is"
    ]
