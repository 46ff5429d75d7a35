"""Secrets in what is recorded: known ones by their value, others by their usual shapes. Pure.

What is redacted here is only the record; output is passed on as it was printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["REDACTED", "Redactor", "secrets_in", "without_credentials"]

REDACTED = "[redacted]"
_MIN_CHARS = 8
_MAX_KNOWN = 200

_SECRET_NAME = re.compile(
    r"(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|AUTH_KEY)S?$"
    r"|(?:SECRET|PASSWORD|TOKEN)_"
)
_NO_SECRET = re.compile(r"[/~.]|(?i:true|false|none|null|yes|no)$")
"""Values of such variables that are paths or switches."""

# Each has a group `keep` that stays, and what follows it goes.
_SHAPES = re.compile(
    "|".join(
        [
            # https://user:password@host
            r"(?P<k1>\b[a-zA-Z][a-zA-Z0-9+.-]{1,20}://)[^\s/@'\"]{1,500}@",
            # ?token=…
            r"(?P<k2>[?&](?:[a-z_-]*(?:token|secret|password|signature)|key|api_?key|sig|(?i:x-amz-[a-z-]+))=)[^\s&'\"]+",
            r"(?P<k3>(?i:\b(?:proxy-)?authorization)[\"']?\s*[:=]\s*[\"']?(?:(?i:bearer|basic|token|digest)\s+)?)[^\s\"',]{4,}",
            r"(?P<k4>\b(?i:bearer)\s+)[A-Za-z0-9._~+/=-]{16,}",
            # WANDB_API_KEY=…, HF_TOKEN: …
            r"(?P<k5>\b[A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY)[A-Z0-9_]*"
            r"[\"']?\s*[=:]\s*[\"']?)(?![0-9.,]+(?:\s|$))[^\s\"',;]{4,}",
            # api_key='…', --password …
            r"(?P<k6>\b(?i:api[_-]?key|access[_-]?token|auth[_-]?token|secret[_-]?key|client[_-]?secret|password"
            r"|passwd|passphrase)[\"']?(?:\s*[=:]\s*|\s+(?=[^\s=:]{12,}))[\"']?)[^\s\"',;]{4,}",
            # What the keys of some services look like.
            r"(?P<k7>\bpenstock_)[A-Za-z0-9_-]{16,}",
            r"(?P<k8>\b(?:hf_|gh[opsur]_|github_pat_|glpat-|xox[abprs]-|sk-|npm_|pypi-))[A-Za-z0-9_-]{16,}",
            r"(?P<k9>\bA(?:KIA|SIA|Iza))[A-Za-z0-9_-]{16,}",
            r"(?P<k10>\beyJ)[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
            r"(?P<k11>-----BEGIN [A-Z ]*PRIVATE KEY-----).*",
        ]
    )
)
_MAYBE = re.compile(
    r"://|[?&][a-zA-Z_-]+=|(?i:authorization|bearer|token|secret|passw|passphrase|key)|penstock_|hf_|gh[opsur]_"
    r"|github_pat|glpat|xox|sk-|npm_|pypi-|AKIA|ASIA|AIza|eyJ"
)
"""Whatever a secret of these shapes contains: most lines contain none of it, and this is fast."""


def secrets_in(environment: Mapping[str, str]) -> set[str]:
    """The values of variables whose names say that they are secret."""
    return {
        value
        for name, value in environment.items()
        if len(value) >= _MIN_CHARS
        and _SECRET_NAME.search(name.upper())
        and not _NO_SECRET.match(value)
        and not value.isdecimal()
    }


class Redactor:
    """Redacts texts. `known`: values that are secrets, wherever they occur."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        values = sorted({each for each in known if len(each) >= _MIN_CHARS}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, values[:_MAX_KNOWN]))) if values else None

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        if _MAYBE.search(text) is None:
            return text
        return _SHAPES.sub(_kept, text)

    def arguments(self, given: Iterable[str]) -> list[str]:
        """Those of a command line; also the one after `--api-key`."""
        redacted: list[str] = []
        is_secret = False
        for argument in given:
            hides = is_secret and not argument.startswith("-")
            redacted.append(REDACTED if hides else self._argument(argument))
            is_secret = argument.startswith("-") and "=" not in argument and _is_secret(argument)
        return redacted

    def _argument(self, argument: str) -> str:
        name, is_set, value = argument.partition("=")
        if is_set and value and _is_secret(name):
            return f"{name}={REDACTED}"
        return self(argument)


def without_credentials(url: str) -> str:
    """A URL without user and password."""
    return re.sub(r"^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@]*@", r"\1", url)


def _is_secret(option: str) -> bool:
    """Whether `--hf-token` or `model.api_key` sets one; `--max-tokens` does not."""
    name = option.lstrip("-").rpartition(".")[2].replace("-", "_").upper()
    return not name.endswith("TOKENS") and _SECRET_NAME.search(name) is not None


def _kept(found: re.Match[str]) -> str:
    kept = found[found.lastgroup or 0]
    return f"{kept}{REDACTED}" + ("@" if found.lastgroup == "k1" else "")
