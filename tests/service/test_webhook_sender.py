"""What is posted, and above all where it is not."""

import ssl
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

import pytest
import trustme
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.webhook_sender import Message, Refused, Sent, WebhookSender, sign
from spezia.contract.webhook import NewWebhook
from tests.service.receiver import Receiver, receiving

LOOPBACK = [ip_network("127.0.0.0/8")]
SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


class Names:
    """A resolver that notes what it is asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return list(self.answers)


def message(url: str) -> Message:
    body = '{"event_type":"ping","data":{"success":true}}'
    return Message(url=url, secret=SECRET, message_id="msg_loFOjxBNrRLzqYUf", timestamp=1731705121, body=body)


def test_a_message_is_signed_as_standard_webhooks_has_it(receiver: Receiver) -> None:
    sent = WebhookSender(LOOPBACK).send(message(f"http://127.0.0.1:{receiver.port}/in?key=1"))
    assert (sent.status, sent.error) == (204, None)
    ((path, headers, body),) = receiver.got
    assert path == "/in?key=1"
    assert headers["webhook-id"] == "msg_loFOjxBNrRLzqYUf"
    assert headers["webhook-timestamp"] == "1731705121"
    # of the example in Svix's documentation, whose scheme the specification is
    assert headers["webhook-signature"] == "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="
    assert headers["content-type"] == "application/json"
    assert sign(SECRET, b"msg_loFOjxBNrRLzqYUf.1731705121." + body) in headers["webhook-signature"]


def test_the_name_is_looked_up_once_and_the_connection_goes_where_that_said(receiver: Receiver) -> None:
    names = Names("127.0.0.1")
    sent = WebhookSender(LOOPBACK, resolve=names).send(message(f"http://rebinds.invalid:{receiver.port}/"))
    assert sent.error is None
    assert names.asked == ["rebinds.invalid"]
    assert receiver.got[0][1]["host"] == f"rebinds.invalid:{receiver.port}"


@pytest.mark.parametrize("answers", [("127.0.0.1",), ("93.184.215.14", "10.0.0.1"), ("::ffff:169.254.169.254",), ()])
def test_a_name_that_means_an_inner_address_is_not_posted_to(answers: tuple[str, ...]) -> None:
    sent = WebhookSender([], resolve=Names(*answers)).send(message("https://inner.example/"))
    assert sent.status is None
    assert sent.error is not None
    assert "address" in sent.error


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
    ],
)
def test_only_public_addresses_are_posted_to(address: str) -> None:
    with pytest.raises(Refused, match="not a public address"):
        WebhookSender([]).check(ip_address(address), is_encrypted=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111"])
def test_the_public_internet_is_posted_to_with_tls_alone(address: str) -> None:
    WebhookSender([]).check(ip_address(address), is_encrypted=True)
    with pytest.raises(Refused, match="needs https"):
        WebhookSender([]).check(ip_address(address), is_encrypted=False)


def test_a_network_that_is_allowed_is_allowed_however_it_is_written() -> None:
    sender = WebhookSender([ip_network("10.0.0.0/24")])
    for address in ("10.0.0.7", "::ffff:10.0.0.7"):
        sender.check(ip_address(address), is_encrypted=False)
    with pytest.raises(Refused):
        sender.check(ip_address("10.0.1.7"), is_encrypted=False)


@pytest.mark.parametrize(
    "url", ["ftp://a.example/", "https://user:pw@a.example/", "https:///x", "https://127.0.0.1/", "https://[::1]/"]
)
def test_a_url_that_cannot_be_posted_to_is_refused_before_anything_is_looked_up(url: str) -> None:
    names = Names("93.184.215.14")
    with pytest.raises(Refused):
        WebhookSender([], resolve=names).check_url(url)
    assert WebhookSender([], resolve=names).send(message(url)).error is not None
    assert names.asked == []


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    with receiving() as inner:
        receiver.status, receiver.headers = 307, {"Location": f"http://127.0.0.1:{inner.port}/inner"}
        sent = WebhookSender(LOOPBACK).send(message(f"http://127.0.0.1:{receiver.port}/"))
    assert (sent.status, sent.error) == (307, "answered 307; 2xx was expected")
    assert inner.got == []


def test_a_proxy_of_the_environment_is_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert WebhookSender(LOOPBACK).send(message(f"http://127.0.0.1:{receiver.port}/")).error is None


def test_a_receiver_that_does_not_answer_is_given_up(receiver: Receiver) -> None:
    receiver.delay_seconds = 0.3
    sent = WebhookSender(LOOPBACK, timeout_seconds=0.1).send(message(f"http://127.0.0.1:{receiver.port}/"))
    assert (sent.status, sent.error) == (None, "no answer within 0.1 s")


def test_nobody_there_is_an_error_without_the_url() -> None:
    with receiving() as gone:
        pass
    sent = WebhookSender(LOOPBACK).send(message(f"http://127.0.0.1:{gone.port}/?secret=1"))
    assert sent.status is None
    assert "secret" not in str(sent.error)


@pytest.mark.parametrize(("name", "is_theirs"), [("hooks.example", True), ("other.example", False)])
def test_tls_verifies_the_name_though_the_connection_goes_to_an_address(name: str, is_theirs: bool) -> None:
    authority = trustme.CA()
    asked: list[str | None] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.sni_callback = lambda _socket, asked_for, _context: asked.append(asked_for)
    authority.issue_cert("hooks.example").configure_cert(server)
    ours = ssl.create_default_context()
    authority.configure_trust(ours)
    with receiving(server) as receiver:
        sender = WebhookSender(LOOPBACK, resolve=Names("127.0.0.1"), tls=ours)
        sent = sender.send(message(f"https://{name}:{receiver.port}/"))
    assert (sent.error is None) == is_theirs
    assert len(receiver.got) == is_theirs
    assert asked == [name]


def test_a_certificate_of_nobody_is_refused() -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("hooks.example").configure_cert(server)
    with receiving(server) as receiver:
        sender = WebhookSender(LOOPBACK, resolve=Names("127.0.0.1"))
        sent = sender.send(message(f"https://hooks.example:{receiver.port}/"))
    assert "CERTIFICATE_VERIFY_FAILED" in str(sent.error)
    assert receiver.got == []


def test_whatever_goes_wrong_is_told_and_never_raised() -> None:
    def broken(host: str, port: int) -> list[str]:
        raise OverflowError("getaddrinfo() argument must be 0-65535")

    sent = WebhookSender(LOOPBACK, resolve=broken).send(message("https://hooks.example/"))
    assert sent == Sent(None, "OverflowError: getaddrinfo() argument must be 0-65535")


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_that_does_not_exist_is_refused(port: int) -> None:
    with pytest.raises(Refused, match=f"has port {port}; ports are 1 to 65535"):
        WebhookSender(LOOPBACK).check_url(f"https://hooks.example:{port}/in")


@settings(max_examples=300)
@given(
    st.from_regex(NewWebhook.model_json_schema()["properties"]["url"]["pattern"]) | st.text("[]/?#@:%.a1", max_size=12)
)
@example("https://8.8.8.8[?")
def test_a_url_that_is_taken_means_the_same_host_to_every_library(text: str) -> None:
    url = text if text.startswith("http") else f"https://{text}"
    try:
        taken = WebhookSender([]).check_url(url)
    except Refused:
        return
    assert urlsplit(url).hostname == taken.raw_host.decode()
