"""The official client behind a proxy that speaks https with a certificate of one's own authority."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import trustme
from support.http_trouble import troubled
from support.logged import Logged
from support.up import Up
from support.wandb_scripts import run_wandb

CODE = """
import wandb
run = wandb.init(project="tls", id="t1")
run.log({"loss": 1})
print(run.url)
run.finish()
print(wandb.Api().run("local/tls/t1").summary["loss"])
"""


def test_an_authority_of_ones_own(up: Up, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    port = urlsplit(up.url).port
    assert port is not None
    with troubled(port, context) as front:
        ended = run_wandb(
            up, CODE, WANDB_BASE_URL=front.url, SSL_CERT_FILE=str(certificate),
            REQUESTS_CA_BUNDLE=str(certificate),
        ).check()  # fmt: skip
    address, loss = ended.stdout.splitlines()[-2:]
    assert address == f"{front.url}/local/tls/runs/t1"
    assert float(loss) == 1
    assert Logged(up, "tls", "t1").column("loss") == [1]
