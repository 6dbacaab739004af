import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from spezia.cli.main import app
from spezia.client import CalledWrongly, Client
from spezia.common.address_and_key import BadAddress, BadKey, check_address, check_key
from spezia.contract.key import KEY_VARIABLE
from trainer.cli import app as worker_app

ADDRESSES = (
    "http://127.0.0.1:8765", "http://localhost/", "https://spezia.example/behind/a/proxy", "http://[::1]:80",
    "http://gpu_1:8765", "HTTP://HOST", "http://user:word@host",
)  # fmt: skip
NO_ADDRESSES = (
    "", "host", "127.0.0.1:8765", "localhost:8765", "ftp://host", "file:///etc/passwd", "http://", "http:///path",
    "http://:80", "http://host:99999", "http://host:port", "http://[::1", "http://[zz]", "http://256.1.1.1",
    "http://1.2.3.4.5", "http://a b", "http://host/a b", "http://host\n", "http://höst",
)  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_taken(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_what_is_no_address_is_refused_by_every_program_at_once(address: str) -> None:
    with pytest.raises(CalledWrongly, match="is no address of a service; write it like http"):
        Client(address or " ")
    called = CliRunner().invoke(worker_app, ["--server", address])
    assert (called.exit_code, "is no address of a service" in " ".join(called.output.split())) == (2, True)


@given(st.text() | st.from_regex(r"https?://[\[\]:.%@/?#\w-]{0,20}", fullmatch=True))
def test_no_address_that_is_taken_fails_on_its_way(address: str) -> None:
    try:
        check_address(address)
    except BadAddress:
        return
    httpx2.Client(base_url=address).build_request("GET", "/v1/studies")


@pytest.mark.parametrize("key", [" ", "spz_a b", "spz_a\n", "spz_ä", "a\r\nHost: elsewhere"])
def test_what_no_header_carries_is_refused_without_being_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadKey) as refused:
        check_key(key)
    assert key.strip() not in str(refused.value) or not key.strip()
    monkeypatch.setenv(KEY_VARIABLE, key)
    for program, arguments, code in ((app, ["studies"], 1), (worker_app, [], 2)):
        called = CliRunner().invoke(program, [*arguments, "--server", "http://127.0.0.1:1"])
        told = " ".join(called.output.split())
        assert (called.exit_code, "the API key holds blanks" in told) == (code, True), told
