"""Which addresses are a proxy's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nba_ml.contract.errors import SettingsError
from nba_ml.contract.proxies import is_proxy, parse_proxies


@given(st.lists(st.ip_addresses()), st.ip_addresses())
def test_only_named_addresses_are_proxies(named: list[Any], asking: Any) -> None:
    """Guards against an address that counts as another, and against none as all."""
    proxies = parse_proxies(" , ".join(map(str, named)))
    assert is_proxy(str(asking), proxies) is (asking in named)
    assert all(is_proxy(str(each), proxies) for each in named)


def test_a_network_is_all_of_its_addresses() -> None:
    proxies = parse_proxies("10.1.2.0/24, fd00::/8,")
    for address, inside in (("10.1.2.255", True), ("10.1.3.0", False), ("fd12::1", True), ("::1", False), ("", False)):
        assert is_proxy(address, proxies) is inside
    assert parse_proxies(None) == parse_proxies(" ") == ()


@pytest.mark.parametrize("text", ["proxy.example.com", "10.0.0.1/24", "127.0.0.1:80", "*", "0.0.0.0/0", "::/0"])
def test_what_is_no_address_and_what_is_every_address_is_refused(text: str) -> None:
    """Uvicorn takes a mistyped network for a name that nothing has, without a word; and `*` for everyone."""
    with pytest.raises(SettingsError, match=f"NBA_ML_TRUSTED_PROXIES names '{text}'".replace("*", r"\*")):
        parse_proxies(f"127.0.0.1,{text}")
