"""Which addresses of the Internet a download may connect to.

The table is IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890 and its updates), kept here
rather than taken from `ipaddress`, whose answers changed between patch releases of Python.
"""

import ipaddress
import socket
import threading
from typing import NamedTuple


class Address(NamedTuple):
    """One address of a host, ready to connect to."""

    host: str
    refusal: str
    """Why it is not to be connected to; empty if nothing is against it."""


def resolve(host: str, port: int, max_seconds: float) -> list[Address]:
    """Return the addresses that the system's resolver gives for `host`, each judged.

    The resolver cannot be interrupted, so it runs in a thread of its own, which is left behind if it
    takes too long.

    Raises:
        OSError: there is no such host, or it cannot be told now.
        TimeoutError: it took longer than `max_seconds`.
    """
    answer: list[list[Address] | OSError] = []

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            answer.append(error)
        except UnicodeError as error:  # a label that is empty or too long
            answer.append(OSError(f"it cannot be a host: {error}"))
        else:
            spelled = dict.fromkeys(_spelled(sockaddr) for *_, sockaddr in found)
            answer.append([Address(it, refusal(it)) for it in spelled])

    asking = threading.Thread(target=ask, name=f"resolve {host[:60]}", daemon=True)
    asking.start()
    asking.join(max(max_seconds, 0))
    if not answer:
        raise TimeoutError("its name was not resolved in time")
    if isinstance(answer[0], OSError):
        raise answer[0]
    return answer[0]


def literal(host: str) -> str:
    """Return the address that `host` spells in any way, also as in `0x7f.1`; "" if it is a name."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return ""
    return _spelled(found[0][4])


def refusal(address: str) -> str:
    """Return why the IP address is not a public one; "" if it is.

    An IPv6 address that stands for an IPv4 one by way of NAT64 (RFC 6052) is what that one is: so do
    networks reach IPv4 that have only IPv6. Those of other transitions (IPv4-mapped, 6to4, Teredo) are
    refused whatever they hold.

    >>> refusal("93.184.215.14"), refusal("10.0.0.1"), refusal("64:ff9b::a00:1")
    ('', 'private', 'private')
    """
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip not in _NAT64:
            return next((what for net, what in _IPV6 if ip in net), "" if ip in _GLOBAL else "reserved")
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return next((what for net, what in _IPV4 if ip in net), "")


def _spelled(sockaddr: tuple[object, ...]) -> str:
    host = str(sockaddr[0])
    scope = sockaddr[3] if len(sockaddr) > 3 else 0
    return f"{host}%{scope}" if scope and "%" not in host else host


_IPV4 = [
    (ipaddress.IPv4Network(net), what)
    for net, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a provider's customers"),  # and 100.100.100.200, a cloud's metadata
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's own"),  # Azure's, reached from inside only
        ("169.254.0.0/16", "link-local"),  # and 169.254.169.254, most clouds' metadata
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "of a transition to IPv6"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
]

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL = ipaddress.IPv6Network("2000::/3")
"""All that has been given out for unicast so far."""

_IPV6 = [
    (ipaddress.IPv6Network(net), what)
    for net, what in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "an IPv4 address in disguise"),
        ("64:ff9b:1::/48", "of a local transition from IPv6"),
        ("2001::/23", "of a protocol's own"),  # Teredo (2001::/32), ORCHID, …
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "of a transition to IPv6"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "private"),  # and fd00:ec2::254, Amazon's metadata
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
]
