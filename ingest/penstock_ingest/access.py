"""Which entities' runs an API key may write."""

from __future__ import annotations

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire import DEFAULT_LIMITS, Limits, check_name
from penstock_common.http.auth import Principal

__all__ = ["checked_entity"]


def checked_entity(
    entity: str | None, principal: Principal, limits: Limits = DEFAULT_LIMITS
) -> str:
    """The entity; by default the API key's own.

    Raises `Rejected`: 400 for an invalid name, 403 if the key may not write there.
    """
    entity = check_name("entity", principal.entity if entity is None else entity, limits)
    if not principal.may_write(entity):
        raise Rejected(
            f"this key may not write to {entity!r}",
            code=ErrorCode.FORBIDDEN,
            hint="Omit entity to write to the key's own, or use a key of that entity.",
        )
    return entity
