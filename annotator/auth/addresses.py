"""The unit of network addresses by which calls are counted, and networks of trusted proxies."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network


class Networks:
    """Addresses and networks.

    Args:
        networks: Each an address or a network, such as 10.0.0.7 or 10.0.0.0/8.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = list(map(ip_network, networks))

    def __contains__(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        if isinstance(parsed, IPv6Address):
            parsed = parsed.ipv4_mapped or parsed
        return any(parsed in network for network in self._networks)


def network_of(address: str) -> str:
    """Return an IPv4 address, or the /64 network of an IPv6 one: one customer usually has all addresses of it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or IPv6Network((parsed.packed[:8] + bytes(8), 64)))
