"""The way to the server: a certificate of one's own, and proxies with credentials, for real."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import trustme
from support.ledger import Ledger
from support.proxies import serve_proxy, serve_tls
from support.scripts import Scripts
from support.spools import new_writer

from penstock.errors import Transient
from penstock.link import Link
from penstock.shipper.daemon import Daemon
from penstock.wire import Batch, encode_batch, join_batches

HOST = "tracker.invalid"  # no resolver knows it: only the proxy does


@pytest.fixture
def port(ledger: Ledger) -> int:
    found = urlsplit(ledger.url).port
    assert found is not None
    return found


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


@pytest.fixture
def tls_port(authority: trustme.CA, port: int) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, "localhost").configure_cert(context)
    with serve_tls(context, port) as found:
        yield found


def body(seq: int = 1) -> bytes:
    batch = Batch(project="p", run="r", writer="w", seq=seq, records=[{"t": "run", "name": "n"}])
    return join_batches([encode_batch(batch)])


def send(link: Link, times: int = 2) -> None:
    """More than once, so that a kept connection is used too."""
    try:
        for seq in range(1, times + 1):
            assert link.post_batches(body(seq), "good")["queued"] == seq
    finally:
        link.close()


def test_a_certificate_of_ones_own(tls_port: int, ca_file: str, ledger: Ledger) -> None:
    send(Link(f"https://localhost:{tls_port}", ca_file, {}))
    assert ledger.requests == 2


def test_an_unknown_certificate_is_not_trusted(tls_port: int, ledger: Ledger) -> None:
    link = Link(f"https://localhost:{tls_port}", None, {})
    with pytest.raises(Transient, match="certificate verify failed"):
        send(link)
    assert ledger.requests == 0


def test_a_certificate_of_another_host_is_not_trusted(
    tls_port: int, ca_file: str, ledger: Ledger
) -> None:
    link = Link(f"https://127.0.0.1:{tls_port}", ca_file, {})
    with pytest.raises(Transient, match="certificate"):
        send(link)
    assert ledger.requests == 0


@pytest.mark.parametrize("credentials", [None, "user:pass", "us er@x:p:ä%"])
def test_through_a_proxy_in_the_clear(port: int, ledger: Ledger, credentials: str | None) -> None:
    with serve_proxy(credentials) as proxy:
        send(Link(f"http://{HOST}:{port}", None, {"http": proxy_url(proxy.port, credentials)}))
        assert all(f"http://{HOST}:{port}/v1/batches" in line for line in proxy.seen)
        assert not proxy.refused
    assert ledger.requests == 2


@pytest.mark.parametrize("credentials", [None, "user:pass", "us er@x:p:ä%"])
def test_through_a_proxy_with_tls(
    tls_port: int, ca_file: str, ledger: Ledger, credentials: str | None
) -> None:
    with serve_proxy(credentials) as proxy:
        proxies = {"https": proxy_url(proxy.port, credentials)}
        send(Link(f"https://{HOST}:{tls_port}", ca_file, proxies))
        # One tunnel; what goes through it, the proxy does not see.
        assert proxy.seen == [f"CONNECT {HOST}:{tls_port} HTTP/1.1"] or proxy.seen == [
            f"CONNECT {HOST}:{tls_port} HTTP/1.0"
        ]
        assert not proxy.refused
    assert ledger.requests == 2


def test_wrong_credentials_are_no_refusal_of_the_data(
    port: int, tls_port: int, ca_file: str, ledger: Ledger
) -> None:
    with serve_proxy("user:pass") as proxy:
        url = proxy_url(proxy.port, "user:wrong")
        for base in (f"http://{HOST}:{port}", f"https://{HOST}:{tls_port}"):
            link = Link(base, ca_file, {"http": url, "https": url})
            with pytest.raises(Transient, match=r"407|does not answer like Penstock"):
                send(link)
        assert len(proxy.refused) == 2
    assert ledger.requests == 0


def test_loopback_and_no_proxy_are_reached_directly(port: int, ledger: Ledger) -> None:
    proxies = {"http": "http://127.0.0.1:9", "no": "example.org"}
    send(Link(f"http://127.0.0.1:{port}", None, proxies), times=1)
    assert Link("http://x.example.org", None, proxies)._proxy is None
    assert Link("http://example.com", None, proxies)._proxy is not None


def proxy_url(port: int, credentials: str | None) -> str:
    if credentials is None:
        return f"127.0.0.1:{port}"
    user, _, password = credentials.partition(":")
    return f"http://{quote(user, safe='')}:{quote(password, safe='')}@127.0.0.1:{port}"


def test_a_run_through_a_proxy_with_tls(
    tmp_path: Path, tls_port: int, ca_file: str, ledger: Ledger
) -> None:
    """From the user's environment to the server, by the real shipper process."""
    scripts = Scripts(tmp_path / "root", f"https://{HOST}:{tls_port}")
    with serve_proxy("user:secret") as proxy:
        try:
            said = scripts.run(
                "import penstock\nwith penstock.init() as run: run.log({'a': 1.0})",
                HTTPS_PROXY=proxy_url(proxy.port, "user:secret"),
                SSL_CERT_FILE=ca_file,
            )
        finally:
            scripts.end_shipper()
    assert "is stored" in said
    assert "secret" not in said
    assert ledger.points() == {("a", 0): 1.0}


def test_a_bad_address_is_reported_and_others_are_sent(tmp_path: Path, ledger: Ledger) -> None:
    bad, good = new_writer(tmp_path, "ftp://nonsense"), new_writer(tmp_path, ledger.url)
    for writer in (bad, good):
        writer.log({"a": 1.0})
        writer.close()
    daemon = Daemon(tmp_path, idle_exit_s=0.1)
    daemon.run()
    assert ledger.points() == {("a", 0): 1.0}
