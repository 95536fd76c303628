"""Which web pages may open WebSockets. Browsers let any page do so, and say which it is: the server is to refuse.

Programs say nothing, and are let in: this protects people with a browser from pages that use what only they can reach.
Source: RFC 6455, section 10.2.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit


class Origins:
    """The pages of one server.

    Args:
        listed: pages that may, such as ``https://app.example.org``.
        host: that the server listens on. What listens on loopback is meant for this machine: a page of the same host
            counts only if that host is loopback by name, since any name can be made to point there (DNS rebinding).
    """

    def __init__(self, listed: Sequence[str], host: str) -> None:
        self._listed = frozenset(origin.rstrip("/").lower() for origin in listed)
        self._is_local = _is_loopback(host)

    def allow(self, origin: str | None, host: str) -> bool:
        """Whether a page may.

        Args:
            origin: the page, as its browser says; None from what is no browser.
            host: the request's ``Host``.
        """
        if origin is None or origin.lower() in self._listed:
            return True
        try:
            page = urlsplit(origin)
            name = page.hostname or ""
        except ValueError:
            return False
        if page.scheme not in ("http", "https"):
            return False
        return _is_loopback(name) or (not self._is_local and page.netloc.lower() == host.lower())


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
