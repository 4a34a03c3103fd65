"""Where a call would go, whether it may, and a client that goes nowhere else."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agentnb.errors import NetworkForbidden

if TYPE_CHECKING:
    import httpx2

__all__ = ["host_of", "http_client", "is_loopback", "network_forbidden", "require_network"]

_SWITCH = "AGENTNB_NO_NETWORK"
_CONNECT_S = 10.0


def host_of(url: str) -> str:
    """The host in `url`, in lower case and without port or brackets; "" where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # a bracket that does not close
        return ""


def is_loopback(url: str) -> bool:
    """True where `url` names this machine by its own loopback address.

    Decided by the text alone: a name that DNS happens to point at 127.0.0.1 is not trusted.

    >>> [is_loopback(f"http://{host}:8080/v1") for host in ("localhost", "127.0.0.9", "[::1]", "10.0.0.1", "a.io")]
    [True, True, True, False, False]
    """
    host = host_of(url)
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def network_forbidden() -> bool:
    """True where AGENTNB_NO_NETWORK is set to anything but an empty text, 0, false or no."""
    return os.environ.get(_SWITCH, "").strip().lower() not in ("", "0", "false", "no")


def require_network(ref: str, base_url: str) -> None:
    """Returns only where the model `ref` may be called at `base_url`.

    Raises:
        NetworkForbidden: AGENTNB_NO_NETWORK is set and `base_url` is not on this machine.
    """
    if network_forbidden() and not is_loopback(base_url):
        raise NetworkForbidden(
            f"{ref} would call {host_of(base_url) or base_url!r}, and {_SWITCH} is set: unset it, or use "
            'model="local:", which runs on this machine'
        )


def http_client(base_url: str, timeout_s: float) -> httpx2.Client:
    """A new HTTP client that calls `base_url` and nobody else; the caller closes it.

    No redirect is followed: it could take the key, or a call that AGENTNB_NO_NETWORK keeps on this machine, elsewhere.
    For the same reason a server on this machine is not called through a proxy that the environment names; the SDKs' own
    clients would do both.

    Args:
        base_url: where it is to call.
        timeout_s: seconds of silence after which a read, a write or a wait is given up; to connect, 10 at most.
    """
    import httpx2  # here and not above: importing agentnb must not pay for it

    timeout = httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_S))
    return httpx2.Client(timeout=timeout, follow_redirects=False, trust_env=not is_loopback(base_url))
