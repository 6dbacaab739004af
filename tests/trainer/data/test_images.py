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
from numpy.typing import NDArray
from PIL import Image, ImageOps
from transformers import AutoModel, ViTImageProcessorPil

from tests.trainer import tiny
from trainer.data.image_files import ImageFile
from trainer.errors import ConfigError, DataError
from trainer.train.prepare import Prepared, prepare


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    tiny.save_family(root / "vit", "vit", AutoModel)
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


RAMP = np.linspace(0.0, 1.0, 64).reshape(8, 8)
"""Shades from black to white."""


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def opened(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(ImageFile("", "scan", content).open())


GREY = np.round(RAMP * 255).astype(np.uint8)
DEEP = np.round(RAMP * 65_535).astype(np.uint16)


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(GREY), "PNG"),
        encoded(Image.fromarray(DEEP), "PNG"),
        encoded(Image.fromarray(DEEP), "TIFF"),
        encoded(Image.fromarray(DEEP), "PPM"),
        encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(GREY).convert("P"), "PNG"),
        encoded(Image.fromarray(np.stack([np.zeros_like(GREY)] * 3 + [255 - GREY], axis=-1), "CMYK"), "TIFF"),
        encoded(Image.fromarray(np.stack([GREY] * 3 + [np.full_like(GREY, 9)], axis=-1)), "PNG"),
        encoded(Image.fromarray(GREY), "TIFF", save_all=True, append_images=[Image.fromarray(255 - GREY)]),
    ],
    ids=["8-bit", "16-bit PNG", "16-bit TIFF", "16-bit PGM", "float", "palette", "CMYK", "alpha", "pages"],
)
def test_an_image_of_any_depth_keeps_its_shades(content: bytes) -> None:
    np.testing.assert_array_equal(opened(content), np.stack([GREY] * 3, axis=-1))


def test_a_deep_image_is_turned_as_its_camera_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    np.testing.assert_array_equal(opened(encoded(Image.fromarray(DEEP), "PNG", exif=exif))[..., 0], GREY[::-1, ::-1])


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (RAMP.astype(np.float32) * 4095, "from 0 to 4095, do not lie in the range 0 to 1 of an image of mode F"),
        (RAMP.astype(np.float32) - 0.5, "from -0.5 to 0.5, do not lie in the range 0 to 1"),
        (np.full((8, 8), np.nan, dtype=np.float32), "from nan to nan, do not lie"),
        ((RAMP * 1e6).astype(np.int32), "from 0 to 1e\\+06, do not lie in the range 0 to 65535 of an image of mode I"),
    ],
)
def test_pixels_outside_the_range_of_their_kind_are_refused(pixels: NDArray[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        opened(encoded(Image.fromarray(pixels), "TIFF"))


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


@pytest.mark.parametrize(
    ("config", "processor", "shape"),
    [
        ({"num_channels": 1}, {"size": {"height": tiny.IMAGE_SIZE, "width": tiny.IMAGE_SIZE}}, "3 x 16 x 16"),
        ({}, {"size": {"height": 32, "width": 32}}, "3 x 32 x 32"),
        ({}, {"do_resize": False}, "3 x 10 x 12"),
    ],
)
def test_a_model_of_other_images_than_its_processor_makes_is_refused(
    tmp_path: Path, image_folder: Path, config: dict[str, Any], processor: dict[str, Any], shape: str
) -> None:
    tiny.save_family(tmp_path / "vit", "vit", AutoModel, **config)
    ViTImageProcessorPil(**processor).save_pretrained(tmp_path / "vit")
    with pytest.raises(ConfigError, match=rf"^model\.name: it does not read the images of {shape} numbers"):
        prepare_images(tmp_path, image_folder)


def test_images_that_only_their_transparency_shows_are_refused(models: Path, tmp_path: Path) -> None:
    for number in range(8):
        folder = tmp_path / "icons" / ("round", "square")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shape = Image.new("L", (8, 8))
        shape.putpixel((number, number), 255)
        Image.merge("LA", [Image.new("L", (8, 8)), shape]).save(folder / f"{number}.png")
    with pytest.raises(DataError, match="all 6 training images have the same pixels once they are read as RGB"):
        prepare_images(models, tmp_path / "icons")


def test_whatever_a_decoder_raises_names_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(_image: Image.Image) -> None:
        raise RuntimeError("Failed to decode frame 0")  # as Pillow's AVIF

    monkeypatch.setattr(ImageOps, "exif_transpose", decode)
    content = encoded(Image.new("RGB", (4, 4)), "PNG")
    with pytest.raises(DataError, match=r"^held is not a readable image \(Failed to decode frame 0\)"):
        ImageFile("", "held", content).open()


def test_a_class_folder_without_images_is_told(models: Path, image_folder: Path) -> None:
    """Such as one whose photographs are HEIC, or lie a folder deeper."""
    (image_folder / "birds" / "2024").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(image_folder / "birds" / "2024" / "0.png")
    (image_folder / "__MACOSX").mkdir()
    prepared = prepare_images(models, image_folder)
    assert prepared.facts.classes == ["cats", "dogs"]
    (warning,) = prepared.facts.warnings
    assert warning.startswith("pets: 1 folders have no images directly in them and are no classes (birds)")
