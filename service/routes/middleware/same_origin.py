"""Which web pages may change something where no key is needed, or where a browser shows a session by itself.

A service on loopback is open until its first key is made, and any page makes a browser of the same machine send
requests to it: it cannot read the answers, but a pause or an upload needs none. Browsers say in `Origin` and
`Sec-Fetch-Site` where a request comes from, which a page cannot change; programs send neither.
"""

from starlette.types import Scope

from service.errors import CrossSite

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing, and whose answers the browser keeps from pages of other origins."""
_OWN_SITES = frozenset({b"same-origin", b"none"})
"""What `Sec-Fetch-Site` says of a page of ours, and of what a person does without a page."""
_DEFAULT_PORTS = {"http": b":80", "https": b":443"}


def check_same_origin(scope: Scope, public_origin: str | None = None, *, must_say: bool = False) -> None:
    """Return unless a browser sends this unsafe request for a page of another scheme, host or port.

    Args:
        public_origin: The origin by which browsers reach the service through a proxy.
        must_say: Refuse a request that does not say where it comes from, too.

    Raises:
        CrossSite: It does; also for a page without an origin (`null`), such as a file or a sandboxed frame.
    """
    if scope["method"] in SAFE_METHODS:
        return
    scheme: str = scope["scheme"]
    ours = {f"{scheme}://".encode() + host for host in _values(scope, b"host")}
    if public_origin is not None:
        ours.add(public_origin.encode())
    origins, sites = _values(scope, b"origin"), _values(scope, b"sec-fetch-site")
    port = _DEFAULT_PORTS[scheme]
    if {one.removesuffix(port) for one in origins} - {one.removesuffix(port) for one in ours} or sites - _OWN_SITES:
        raise CrossSite
    if must_say and not origins:
        raise CrossSite("a write by a signed-in browser needs an Origin; send it from a page of this service")


def _values(scope: Scope, name: bytes) -> set[bytes]:
    return {value.lower() for own, value in scope["headers"] if own == name}
