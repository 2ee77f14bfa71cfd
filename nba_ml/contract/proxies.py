"""Addresses of proxies whose forwarded headers are believed."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from nba_ml.contract.errors import SettingsError

Proxies = tuple[IPv4Network | IPv6Network, ...]

SETTING = "NBA_ML_TRUSTED_PROXIES"


def parse_proxies(text: str | None) -> Proxies:
    """From addresses and networks with commas between them.

    Raises:
        SettingsError: one is neither, or every address.
    """
    found = []
    for each in (part.strip() for part in (text or "").split(",")):
        if not each:
            continue
        try:
            network = ip_network(each)
        except ValueError as error:
            raise SettingsError(
                f"{SETTING} names '{each}': {error}. Give addresses or networks, with commas between them: "
                "127.0.0.1,10.0.0.0/24."
            ) from error
        if not network.prefixlen:
            raise SettingsError(
                f"{SETTING} names '{each}', every address: then everyone can say who they are. Name the proxies."
            )
        found.append(network)
    return tuple(found)


def is_proxy(address: str, proxies: Proxies) -> bool:
    """Whether a connection from this address is a proxy's."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a Unix socket
        return False
    return any(parsed in network for network in proxies)
