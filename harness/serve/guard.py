"""Which requests are accepted: by the host they name, and the page they come from.

A page of another site can have a browser send requests to this machine. It cannot choose the Host
header: after DNS rebinding it still names the foreign site. Nor can it choose the Origin header of
a POST.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from harness.core.printable import one_line
from harness.serve.failures import Refusal, answer_of, refused
from harness.serve.uploads import discard

#: Names of the loopback address.
LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")

#: Methods that change nothing and compute nothing.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

#: Accepts any host, or any origin.
ANY = "*"

NAME_LENGTH = 100

#: A Host header, in lower case: a name or an address, IPv6 in brackets, and perhaps a port.
_HOST = re.compile(r"(?:\[([^\[\]]*)\]|([^\[\]:@/]*))(?::\d*)?", re.ASCII)

#: A name of a host or an address that an option takes as it is: no comma, which parts the words of
#: a list, and no character that a shell reads as another thing.
_NAME = re.compile(r"[\w.:%-]{1,100}", re.ASCII)

#: What a browser sends as Origin.
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]*://[\w.:%\[\]-]{1,100}", re.ASCII | re.IGNORECASE)


class Guarded:
    """ASGI middleware that refuses requests for other hosts and from other sites."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Collection[str],
        origins: Collection[str],
        max_upload_bytes: int,
    ) -> None:
        """Wrap an application.

        Args:
            app: Receives the requests that are accepted.
            hosts: Names and addresses a request may have in its Host header; ``*`` accepts all.
            origins: Origins, beside the service's own, that pages may have; ``*`` accepts all.
            max_upload_bytes: Limit of one request; bounds what is read of a refused body.
        """
        self._app = app
        self._hosts = [host.lower().rstrip(".") for host in hosts]
        self._origins = [origin.lower().rstrip("/") for origin in origins]
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request that is accepted; answer any other with 403."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        own = scope["server"][0] if scope.get("server") else None
        refusal = self._refusal(scope["method"], headers, own)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        if scope["method"] not in SAFE_METHODS:
            await discard(Request(scope, receive), self._max_upload_bytes)
        await answer_of(refusal.fault)(scope, receive, send)

    def _refusal(self, method: str, headers: Headers, own: str | None) -> Refusal | None:
        """Return why a request is refused; None where it is accepted."""
        host = headers.get("host")
        if host is not None and not self._is_ours(_name_of(host), own):
            return _for_another_host(host)
        if method in SAFE_METHODS or self._is_same_site(headers):
            return None
        return _from_another_site(headers)

    def _is_ours(self, name: str, own: str | None) -> bool:
        """Return whether a host is this machine's, or one that the user allowed."""
        if ANY in self._hosts or name in self._hosts or name in LOOPBACK_NAMES:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address cannot be rebound: the one that the client reached is this machine's.
        return address.is_loopback or name == own

    def _is_same_site(self, headers: Headers) -> bool:
        """Return whether a request comes from the service's own page, or from no page at all."""
        origins = headers.getlist("origin")
        if not origins:
            return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        host = headers.get("host", "").lower()
        return all(self._is_own_or_allowed(origin, host) for origin in origins)

    def _is_own_or_allowed(self, origin: str, host: str) -> bool:
        """Return whether an Origin header names the service's own page, or one that is allowed."""
        if ANY in self._origins or origin.lower() in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        own_scheme = parts.scheme in ("http", "https")  # https behind a proxy
        return own_scheme and bool(parts.netloc) and parts.netloc.lower() == host


def _name_of(host: str) -> str:
    """Return the name in a Host header, without its port, in lower case; empty where it has none.

    What is behind it must be a port: another program may read another name there.
    """
    found = _HOST.fullmatch(host.strip().lower())
    if found is None:
        return ""
    return found[1] if found[1] is not None else found[2].rstrip(".")


def _for_another_host(host: str) -> Refusal:
    name = _name_of(host)
    return refused(
        403,
        "the request is for another host",
        expected="a name of this machine",
        found=_shown(host),
        next_step=f"if it is this machine's, start the service with --allow-host {name}"
        if _NAME.fullmatch(name)
        else "send a Host header of a name or an address, and perhaps a port",
    )


def _from_another_site(headers: Headers) -> Refusal:
    origins = list(dict.fromkeys(headers.getlist("origin")))
    site = _shown(headers.get("sec-fetch-site", ""))
    return refused(
        403,
        "the request comes from a page of another site",
        expected="the service's own page, or a program that is no browser",
        found=_shown(", ".join(filter(None, origins)))
        or (f"Sec-Fetch-Site: {site}" if site else "an empty Origin header"),
        next_step=_how_to_allow(origins),
    )


def _how_to_allow(origins: Sequence[str]) -> str:
    """Return what to do where a request with these Origin headers was refused."""
    if not any(origins):
        return "a program that is no browser leaves these headers out"
    if not all(_ORIGIN.fullmatch(one) for one in origins):
        return "send one Origin header, of a scheme, a name and perhaps a port, or none"
    allowed = shlex.quote(",".join(origins))  # the option takes a list without spaces
    return f"if that page may use it, start the service with --allow-origin {allowed}"


def _shown(text: str) -> str:
    return one_line(text[:NAME_LENGTH])
