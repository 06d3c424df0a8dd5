"""Which hosts and addresses the gateway connects to: never a cloud's metadata service, however it is spelled."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

_METADATA_HOSTS = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})
_METADATA_ADDRESSES = frozenset(
    ipaddress.ip_address(text)
    for text in ("100.100.100.200", "fd00:ec2::254", "192.0.0.192", "168.63.129.16")
)
_IPV4_IN_LAST_BITS = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")))
_NUMERIC = re.compile(r"0[xX][0-9A-Fa-f]*|[0-9]+")
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")


def split_address(url: str) -> SplitResult | str:
    """The parts of an address, or why it is none (a phrase that follows it): no credentials, a host, a usable port."""
    if not url.isascii() or any(char <= " " or char == "\x7f" for char in url):
        return "has spaces, control or non-ASCII characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"is no URL: {error}"
    if "@" in parts.netloc:
        return "has user information; it takes no credentials in its URL"
    if port == 0 or not parts.hostname:
        return "has no usable host and port"
    return parts


def web_address_problem(url: str) -> str | None:
    """Why the gateway does not fetch from `url`, or None: https, or http on this very host; no metadata service."""
    parts = split_address(url)
    if isinstance(parts, str):
        return parts
    host = parts.hostname or ""
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        return f"has scheme {parts.scheme or 'none'!r}; write https://HOST/… (http only for this host's loopback)"
    if "#" in url:
        return "has a fragment"
    return host_problem(host, "[" in parts.netloc)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself, by its address or as `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_problem(host: str, bracketed: bool) -> str | None:
    """Why the gateway does not connect to `host`, or None. `bracketed`: it stood in brackets, as IPv6 addresses do."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # Resolvers read 2130706433, 0x7f.1 and the like as addresses: a way around the checks below.
        if host.rstrip(".").lower() in _METADATA_HOSTS:
            return "is a cloud's metadata service"
        if bracketed or not _HOST.fullmatch(host) or _NUMERIC.fullmatch(host.rstrip(".").rsplit(".", 1)[-1]):
            return f"has host {host!r}, which is neither a name nor an address in its usual form"
        return None
    for form in (address, *_embedded(address)):
        if form.is_link_local or form in _METADATA_ADDRESSES:
            return "is a link-local or metadata address"
        reserved = form.version == 4 and form.is_reserved
        if form.is_multicast or form.is_unspecified or reserved:
            return "is no address of one host"
    return None


def _embedded(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address stands for: mapped, compatible, NAT64 (RFC 6052), 6to4, Teredo."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _IPV4_IN_LAST_BITS):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    # The loopback address ::1 lies in the compatible range and stands for nothing else.
    return [form for form in found if form is not None and not address.is_loopback]
