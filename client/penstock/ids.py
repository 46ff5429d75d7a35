"""Random ids and secrets, one function for each kind: what they consist of, and how hard they are to guess
or to meet twice. Nothing else in Penstock makes any.

All come from the operating system. Not from `random`: scripts seed it, and two runs with the same seed must
not share an id.
"""

from __future__ import annotations

import os
import string
from collections.abc import Sequence
from typing import TypeVar

__all__ = [
    "choose",
    "new_agent_id",
    "new_claim_token",
    "new_gateway_id",
    "new_installation_secret",
    "new_key_id",
    "new_key_secret",
    "new_reserved_name",
    "new_run_id",
    "new_session_id",
    "new_store_id",
    "new_sweep_id",
    "new_trailer_tag",
    "new_worker_id",
    "new_writer_id",
]

T = TypeVar("T")

_LOWER = string.ascii_lowercase + string.digits
_LETTERS = string.ascii_letters + string.digits
_URL_SAFE = _LETTERS + "-_"


def choose(choices: Sequence[T]) -> T:
    """One of these, each as likely as the others: to 1 in 2^57 for up to 100 of them."""
    return choices[int.from_bytes(os.urandom(8), "little") % len(choices)]


def new_run_id() -> str:
    """Eight of a–z and 0–9, 41 bits: unique within a project, and short enough to be typed."""
    return _text(_LOWER, 8)


def new_claim_token() -> str:
    """32 hexadecimal digits, 128 bits: tells the claims of shippers on a folder apart."""
    return _hex(32)


def new_writer_id() -> str:
    """32 hexadecimal digits, 128 bits: unique within a run, also among processes that never meet."""
    return _hex(32)


def new_sweep_id() -> str:
    """Eight of a–z and 0–9, 41 bits: unique within a project."""
    return _text(_LOWER, 8)


def new_agent_id() -> str:
    """20 hexadecimal digits, 80 bits: unique within an installation."""
    return _hex(20)


def new_worker_id() -> str:
    """16 hexadecimal digits, 64 bits: a worker process, or its flight recorder's file."""
    return _hex(16)


def new_gateway_id() -> str:
    """12 hexadecimal digits, 48 bits: the start of the names that a gateway gives to queues."""
    return _hex(12)


def new_store_id() -> str:
    """16 hexadecimal digits, 64 bits: a point store, and another one after it was replaced."""
    return _hex(16)


def new_reserved_name() -> str:
    """32 hexadecimal digits, 128 bits: the name of a run that only reserves a number, and is deleted in the same transaction."""
    return _hex(32)


def new_trailer_tag() -> str:
    """16 hexadecimal digits, 64 bits: marks an error at the end of a streamed result, where data must not
    look like one."""
    return _hex(16)


def new_key_id() -> str:
    """Ten of A–Z, a–z and 0–9, 60 bits: the public part of an API key."""
    return _text(_LETTERS, 10)


def new_key_secret() -> str:
    """43 of A–Z, a–z and 0–9, 256 bits: the secret part of an API key."""
    return _text(_LETTERS, 43)


def new_session_id() -> str:
    """43 of A–Z, a–z, 0–9, - and _, 258 bits: a browser that has it is signed in to the page."""
    return _text(_URL_SAFE, 43)


def new_installation_secret() -> str:
    """64 hexadecimal digits, 256 bits: what an installation's keys and signatures depend on."""
    return _hex(64)


def _text(alphabet: str, length: int) -> str:
    return "".join(choose(alphabet) for _ in range(length))


def _hex(digits: int) -> str:
    return os.urandom(digits // 2).hex()
