"""What a script of `wandb.Api` answers, as Python values."""

from __future__ import annotations

import json
import textwrap
from typing import Any

from support.up import Up
from support.wandb_scripts import run_wandb

__all__ = ["ask"]

_BEGIN = """
import json, math, os, wandb
api = wandb.Api()
def show(found): print(json.dumps(found))
def error(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
def graphql(query, **variables):
    return api._service_api.execute_graphql(query, variables)
"""


def ask(up: Up, code: str, *, key: str = "", entity: str = "local") -> Any:
    """What a script gives to `show`, once, as JSON. It has an `api`; `error(f)` is what calling f
    raises, None if nothing; `graphql(query, **variables)` is the data of a raw answer."""
    ended = run_wandb(
        up,
        _BEGIN + textwrap.dedent(code),
        WANDB_API_KEY=key or up.api_key,
        WANDB_ENTITY=entity,
    )
    return json.loads(ended.check().stdout.splitlines()[-1])
