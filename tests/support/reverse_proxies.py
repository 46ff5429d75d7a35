"""The reverse proxies of deploy/proxies, run with their configurations as they are, apart from ports and
paths."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import trustme
from support.gateways import free_port
from support.up import wait_until

__all__ = ["KINDS", "ReverseProxy", "certificate", "running_reverse_proxy"]

KINDS = ("nginx", "haproxy", "caddy", "traefik")
_CONFIGS = Path(__file__).parents[2] / "deploy" / "proxies"
_MAIN = """
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    include {folder}/penstock.conf;
}}
"""


@dataclass
class ReverseProxy:
    """A proxy in front of a Penstock on this machine; `start`, `kill`, and `start` again on its ports."""

    kind: str
    folder: Path
    target_port: int
    ca_file: Path
    edit: Callable[[str], str] = lambda text: text
    """What a test changes in the configuration."""
    http_port: int = field(default_factory=free_port)
    https_port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.https_port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = getattr(self, f"_{self.kind}")()
        environ = {**os.environ, "XDG_DATA_HOME": str(self.folder), "HOME": str(self.folder)}
        with (self.folder / "proxy.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environ, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._answers, 30)

    def kill(self) -> None:
        """End it at once, with its workers."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            wait_until(self._is_gone, 30)

    def connect(self) -> ssl.SSLSocket:
        """A TLS connection to it."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.set_alpn_protocols(["http/1.1"])
        plain = socket.create_connection(("127.0.0.1", self.https_port), 30)
        return context.wrap_socket(plain, server_hostname="localhost")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "proxy.log").read_text()[-2000:]
        with suppress(OSError):
            context = ssl.create_default_context(cafile=self.ca_file)
            with urlopen(f"{self.url}/healthz", timeout=5, context=context) as reply:
                return bool(reply.status == 200)
        return False

    def _is_gone(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.https_port), 1):
            return False
        return True

    def _config(self, name: str, *replaced: tuple[str, str]) -> Path:
        """A configuration with other ports and paths. Each must be there: else it is not what is tried."""
        text = (_CONFIGS / name).read_text()
        for old, new in replaced:
            assert old in text, old
            text = text.replace(old, new)
        path = self.folder / name
        path.write_text(self.edit(text))
        return path

    def _nginx(self) -> list[str]:
        config = self._config(
            "nginx.conf",
            ("server 127.0.0.1:8080;", f"server 127.0.0.1:{self.target_port};"),
            ("listen 80;", f"listen 127.0.0.1:{self.http_port};"),
            ("listen 443 ssl", f"listen 127.0.0.1:{self.https_port} ssl"),
            ("/etc/nginx/penstock.", f"{self.folder}/penstock."),
        )
        config.rename(self.folder / "penstock.conf")
        main = self.folder / "main.conf"
        main.write_text(_MAIN.format(folder=self.folder))
        return ["nginx", "-c", str(main), "-e", "stderr"]

    def _haproxy(self) -> list[str]:
        config = self._config(
            "haproxy.cfg",
            ("penstock 127.0.0.1:8080", f"penstock 127.0.0.1:{self.target_port}"),
            ("bind :80\n", f"bind 127.0.0.1:{self.http_port}\n"),
            ("bind :443 ", f"bind 127.0.0.1:{self.https_port} "),
            ("/etc/haproxy/", f"{self.folder}/"),
        )
        return ["haproxy", "-W", "-db", "-f", str(config)]

    def _caddy(self) -> list[str]:
        config = self._config(
            "Caddyfile",
            ("127.0.0.1:8080", f"127.0.0.1:{self.target_port}"),
            ("https://penstock.example.com", f"https://localhost:{self.https_port}"),
            ("{\n\tservers", f"{{\n\tadmin off\n\thttp_port {self.http_port}\n\tservers"),
            ("/etc/caddy/", f"{self.folder}/"),
        )
        return ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]

    def _traefik(self) -> list[str]:
        dynamic = self._config(
            "traefik-penstock.yaml",
            ("http://127.0.0.1:8080", f"http://127.0.0.1:{self.target_port}"),
            ("/etc/traefik/", f"{self.folder}/"),
        )
        static = self._config(
            "traefik.yaml",
            ('":80"', f'"127.0.0.1:{self.http_port}"'),
            ('":443"', f'"127.0.0.1:{self.https_port}"'),
            ("/etc/traefik/traefik-penstock.yaml", str(dynamic)),
        )
        return ["traefik", f"--configFile={static}"]


def certificate(folder: Path) -> Path:
    """A certificate for localhost, in the files that the configurations name; returns its authority's."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    issued.private_key_pem.write_to_path(folder / "penstock.key")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "penstock.pem")
    (folder / "penstock.crt").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    return ca_file


@contextmanager
def running_reverse_proxy(
    kind: str, folder: Path, target_port: int, edit: Callable[[str], str] = lambda text: text
) -> Iterator[ReverseProxy]:
    """A proxy in front of this port, killed at the end."""
    assert shutil.which(kind) is not None
    proxy = ReverseProxy(kind, folder, target_port, certificate(folder), edit)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.kill()
