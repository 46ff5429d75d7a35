"""What logs do not say: secrets, however they get into a line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from penstock_common.http.auth import mint_key
from penstock_common.process.logs import redacted

KEY, TEXT = mint_key("user", "local", frozenset({"read"}), "pepper")
SECRET = TEXT.split("_")[3]


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        (f"key={TEXT}", SECRET),
        (f"Authorization: Bearer {TEXT}", SECRET),
        (f"{{'Authorization': 'Bearer {'x' * 32}'}}", "x" * 32),
        ("{'Authorization': 'Basic YXBpOnNlY3JldA=='}", "YXBpOnNlY3JldA"),
        ("Cookie: a=b; penstock_session=abc.123.def-_", "abc.123"),
        ("GET /wandb/files/7/a?expires=1&key=id&signature=Ab-_9 HTTP/1.1", "Ab-_9"),
        ("cannot connect to redis://:hunter22@10.0.0.1:6379/0", "hunter22"),
        ("postgresql+asyncpg://penstock:p%40ss@db/penstock refused", "p%40ss"),
        ("connect failed: host=db password=hunter22 user=x", "hunter22"),
        ('{"api_key": "anything at all"}', "anything"),
        ("the pepper is sesame-sesame", "sesame"),
    ],
    ids=range(11),
)
def test_secrets_are_hidden(line: str, secret: str) -> None:
    shown = redacted(line, ["sesame-sesame"])
    assert secret not in shown
    assert "[hidden]" in shown


@pytest.mark.parametrize(
    "line",
    [
        "api_key_made id=Ab12Cd34Ef entity=local",
        "child_died name=gateway-0 code=-9 restart_in_s=0.1",
        "GET http://127.0.0.1:8080/v1/viewer took 3 ms",
        "unix:///data/run/redis.sock: connection refused",
    ],
)
def test_the_rest_is_left(line: str) -> None:
    assert redacted(line) == line


def test_a_key_can_still_be_told_by_its_id() -> None:
    assert KEY.id in redacted(TEXT)


def test_what_ends_a_process_is_hidden_too() -> None:
    code = (
        "from penstock_common.process import logs\n"
        "logs.setup('gateway', secrets=['sesame-sesame'])\n"
        "logs.logging.getLogger('x').warning('with %s', 'sesame-sesame')\n"
        f"raise ValueError('redis://:hunter22@host and sesame-sesame {TEXT}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "ValueError" in done.stderr
    assert "Traceback" in done.stderr
    for secret in ("sesame-sesame", "hunter22", SECRET):
        # The source line of a -c script is not shown, so what is left would be the message.
        assert secret not in done.stderr
