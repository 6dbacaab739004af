"""Post one webhook message, signed, to an address that was looked up once and is allowed.

    webhook-signature: v1,base64(HMAC-SHA256(secret, "{webhook-id}.{webhook-timestamp}.{body}"))

as in the Standard Webhooks specification 1.0.0. A target in a private network would let whoever may make a webhook
reach what only this machine should: such addresses are refused unless the operator allows their network, and the
connection goes to the very address that was checked, whatever the name means a moment later. Redirects are not
followed, proxies of the environment not used.
"""

import base64
import hashlib
import hmac
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import anyio
import httpx2

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], list[str]]

SECRET_PREFIX = "whsec_"
"""What the secret of a webhook begins with, by the specification."""
TIMEOUT_SECONDS = 15.0
"""Time limit from connecting to the answer's status; the specification recommends 15 to 30 s."""
_MAX_PORT = 65535
_HOST = re.compile(rb"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+")
"""Host of a URL, an IPv6 address without its brackets. httpx2 takes other characters too, which it escapes."""
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_HOLDS_IPV4 = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))
"""6to4 and Teredo: what is behind may be any IPv4 address."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message to post to a webhook."""

    url: str
    secret: str
    message_id: str
    """Id of the message, the same for each attempt to post it."""
    timestamp: int
    """When this attempt was begun, in Unix time."""
    body: str
    """The message itself, as JSON."""


@dataclass(frozen=True)
class Sent:
    """How an attempt to post a message went."""

    status: int | None
    """HTTP status of the answer; ``None`` where none came."""
    error: str | None
    """Why the message was not delivered; ``None`` if it was."""


class Refused(ValueError):
    """Nothing may be posted to a URL or address; the text says why."""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a name, by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class WebhookSender:
    """Posts messages, and knows which addresses may be posted to."""

    def __init__(
        self,
        allowed: Sequence[Network],
        *,
        resolve: Resolve = resolve,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Set up the sender; ``allowed`` are networks that may be posted to besides the public internet."""
        self._allowed = allowed
        self._resolve = resolve
        self._tls = tls
        self._timeout_seconds = timeout_seconds

    def send(self, message: Message) -> Sent:
        """Post a message once; whatever goes wrong is told in the result."""
        try:
            url = self.check_url(message.url)
            address = self._choose(url)
            status = anyio.run(self._post, url, address, message)
        except TimeoutError:
            return Sent(None, f"no answer within {self._timeout_seconds:g} s")
        except Exception as error:  # what escaped would not count as a failure, and hold up every other webhook
            return Sent(None, f"{type(error).__name__}: {error}"[:500])
        return Sent(status, None if 200 <= status < 300 else f"answered {status}; 2xx was expected")

    def check(self, address: Address, *, is_encrypted: bool) -> None:
        """Return if ``address`` may be posted to.

        Raises:
            Refused: The address is neither public nor in an allowed network, or it is public and not called by https.
        """
        plain = address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
        if any(plain in network for network in self._allowed):
            return
        if not _is_public(plain):
            raise Refused(f"{address} is not a public address; the operator may allow it in SPEZIA_WEBHOOK_NETWORKS")
        if not is_encrypted:
            raise Refused("an address on the public internet needs https")

    def check_url(self, text: str) -> httpx2.URL:
        """Return a URL that may be posted to, judged by its text; the address of its name is checked when posting.

        Raises:
            Refused: The URL is not one, is not http(s), or names an address that may not be posted to.
        """
        try:
            url = httpx2.URL(text)
        except httpx2.InvalidURL as error:
            raise Refused(f"is not a URL: {error}") from None
        if url.scheme not in ("http", "https") or not url.host or url.userinfo:
            raise Refused("is not http(s)://host… without user and password")
        if not _HOST.fullmatch(url.raw_host):
            raise Refused(
                f"has host {url.host!r}; a host is a name of letters, digits, dots and hyphens, or an address"
            )
        if url.port is not None and not 1 <= url.port <= _MAX_PORT:
            raise Refused(f"has port {url.port}; ports are 1 to {_MAX_PORT}")
        try:
            address = ip_address(url.host)
        except ValueError:
            return url
        self.check(address, is_encrypted=url.scheme == "https")
        return url

    def _choose(self, url: httpx2.URL) -> Address:
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = [ip_address(one) for one in self._resolve(url.raw_host.decode("ascii"), port)]
        for address in addresses:
            # all of them: a name that means an inner and an outer address is up to something
            self.check(address, is_encrypted=url.scheme == "https")
        if not addresses:
            raise Refused(f"{url.host} has no address")
        return addresses[0]

    async def _post(self, url: httpx2.URL, address: Address, message: Message) -> int:
        content = message.body.encode()
        signed = f"{message.message_id}.{message.timestamp}.".encode() + content
        headers = {
            "Host": url.netloc.decode("ascii"),
            "Content-Type": "application/json",
            "User-Agent": "spezia-webhook/1",
            "webhook-id": message.message_id,
            "webhook-timestamp": str(message.timestamp),
            "webhook-signature": f"v1,{sign(message.secret, signed)}",
        }
        # TLS greets and verifies the name although the connection goes to the address
        extensions = {"sni_hostname": url.raw_host.decode("ascii")}
        with anyio.fail_after(self._timeout_seconds):
            async with (
                httpx2.AsyncClient(
                    verify=self._tls or _public_tls(),
                    trust_env=False,
                    follow_redirects=False,
                    timeout=self._timeout_seconds,
                ) as client,
                client.stream(
                    "POST", url.copy_with(host=str(address)), content=content, headers=headers, extensions=extensions
                ) as answer,
            ):
                return answer.status_code  # whatever its body is


def sign(secret: str, signed: bytes) -> str:
    """Return the signature of ``signed`` by a `whsec_…` secret, in base64."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


@cache
def _public_tls() -> ssl.SSLContext:
    """Trust in the public authorities, read when it is first needed: that takes 50 ms of CPU."""
    return httpx2.create_ssl_context(trust_env=False)


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast:
        return False
    if isinstance(address, IPv4Address):
        return True
    return address in _GLOBAL_UNICAST and not any(address in network for network in _HOLDS_IPV4)
