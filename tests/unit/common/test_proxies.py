"""What proxies say about a browser: believed of those that are trusted, and of no one else."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from penstock.errors import Rejected
from penstock_common.http.proxies import Proxies


class _From:
    """A connection from this address."""

    def __init__(self, address: str) -> None:
        self._peer = (address, 1)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._peer if name == "peername" else default


def client(trusted: str, peer: str, *told: str) -> str:
    headers = CIMultiDict([("Host", "x"), *(("X-Forwarded-For", each) for each in told)])
    request = make_mocked_request("GET", "/", headers, transport=_From(peer))
    return Proxies(trusted).client(request)


@pytest.mark.parametrize(
    ("trusted", "peer", "told", "expected"),
    [
        ("", "10.0.0.1", ("1.2.3.4",), "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1", ("1.2.3.4",), "1.2.3.4"),
        ("10.0.0.1", "10.0.0.2", ("1.2.3.4",), "10.0.0.2"),
        (
            "10.0.0.0/8",
            "10.9.9.9",
            ("6.6.6.6, 1.2.3.4",),
            "1.2.3.4",
        ),  # the first is the client's lie
        ("10.0.0.0/8", "10.9.9.9", ("6.6.6.6", "1.2.3.4, 10.1.1.1"), "1.2.3.4"),
        ("10.0.0.0/8", "10.9.9.9", (), "10.9.9.9"),
        ("10.0.0.0/8", "10.9.9.9", ("unknown",), "10.9.9.9"),
        ("10.0.0.0/8", "10.9.9.9", ("10.1.1.1",), "10.1.1.1"),
        ("10.0.0.0/8", "::ffff:10.9.9.9", ("2001:DB8::1",), "2001:db8::1"),
        ("fd00::/8", "fd00::5", ("[2001:db8::1]",), "2001:db8::1"),
        (" 127.0.0.1 , ::1 ", "::1", ("1.2.3.4",), "1.2.3.4"),
    ],
)
def test_the_client_s_address(
    trusted: str, peer: str, told: tuple[str, ...], expected: str
) -> None:
    assert client(trusted, peer, *told) == expected


@pytest.mark.parametrize("wrong", ["proxy.example", "10.0.0.1/8", "10.0.0.0/99", "*"])
def test_what_is_no_network_is_refused_by_name(wrong: str) -> None:
    with pytest.raises(Rejected, match="PENSTOCK_TRUSTED_PROXIES"):
        Proxies(f"127.0.0.1,{wrong}")
