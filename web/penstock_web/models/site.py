"""The caller, their projects and API keys, the page's session, and live events."""

from __future__ import annotations

from pydantic import Field

from penstock_common.http.openapi import Operation, Raw
from penstock_web.models import Answered, Asked

__all__ = [
    "CREATE_API_KEY",
    "GET_STATUS",
    "GET_VIEWER",
    "LIST_API_KEYS",
    "LIST_PROJECTS",
    "LOG_IN",
    "LOG_OUT",
    "REVOKE_API_KEY",
    "STREAM_EVENTS",
    "CreatedKey",
    "KeyDetails",
    "KeyList",
    "Project",
    "Projects",
    "Status",
    "Viewer",
]


class Viewer(Answered):
    entity: str = Field(description="The caller's entity.")
    version: str = Field(description="The server's version.")
    may_write: bool = Field(description="Whether the caller may change that entity's runs.")
    login_required: bool = Field(description="Whether reading requires a login or an API key.")


class StatedProblem(Answered):
    code: str = Field(description="The kind of problem; docs/operations.md lists them.")
    text: str = Field(description="The problem in plain words.")
    subject: str = Field(description="The component, disk or run concerned, if any.")
    since: float = Field(description="Unix seconds.")
    hint: str = Field(description="How to fix it.")
    stops: bool = Field(description="Whether it prevents clients' data from being stored.")


class Status(Answered):
    problems: list[StatedProblem] = Field(description="Current problems, most serious first.")


class Project(Answered):
    entity: str
    project: str
    runs: int = Field(description="Number of runs.")
    created_at: float = Field(description="Unix seconds.")
    updated_at: float = Field(description="When a run last received data; Unix seconds.")


class Projects(Answered):
    projects: list[Project]


class Login(Asked):
    api_key: str = Field(description="penstock_…", min_length=1, max_length=1_000)


class Logout(Asked):
    everywhere: bool = Field(False, description="End every session of this session's API key.")


class NewKey(Asked):
    label: str = Field("", description="What the key is for; shown to its owner.", max_length=200)
    expires_at: float | None = Field(
        None,
        description="When the key expires, in Unix seconds. Defaults to never, or to the caller's own expiry.",
        gt=0,
        lt=1e11,
        allow_inf_nan=False,
    )


class KeyDetails(Answered):
    id: str = Field(description="The public part of the key.")
    entity: str
    scopes: list[str]
    label: str = Field(description="What the key is for.")
    created_at: float = Field(description="Unix seconds.")
    last_used_at: float | None = Field(description="Unix seconds, to the minute.")
    expires_at: float | None = Field(description="Unix seconds.")
    revoked: bool


class KeyList(Answered):
    api_keys: list[KeyDetails] = Field(description="Oldest first.")


class CreatedKey(Answered):
    id: str = Field(description="The public part of the key.")
    entity: str
    scopes: list[str]
    expires_at: float | None = Field(description="Unix seconds.")
    api_key: str = Field(description="penstock_…; this key is shown only once.")


GET_VIEWER = Operation(
    "GET", "/v1/viewer", "site", "The caller",
    answers={200: Viewer}, errors=(401,), needs_key=False,
)  # fmt: skip

GET_STATUS = Operation(
    "GET", "/v1/status", "site", "The server's current problems",
    answers={200: Status}, errors=(401,), needs_key=False,
)  # fmt: skip

LIST_PROJECTS = Operation(
    "GET", "/v1/projects", "site", "Projects that the caller may read",
    answers={200: Projects}, errors=(401,), needs_key=False,
)  # fmt: skip

STREAM_EVENTS = Operation(
    "GET", "/v1/projects/{entity}/{project}/events", "site", "Live events of a project",
    answers={
        200: Raw("text/event-stream", "Server-sent events, at most four times a second.")
    },
    errors=(401, 404), needs_key=False, allow_head=False,
)  # fmt: skip

LOG_IN = Operation(
    "POST", "/v1/session", "site", "Log in to the page with an API key; sets a cookie",
    answers={204: None}, body=Login, errors=(400, 401, 403, 413, 415, 429), needs_key=False,
)  # fmt: skip

LOG_OUT = Operation(
    "DELETE", "/v1/session", "site", "Log out, here or everywhere",
    answers={204: None}, query=Logout, errors=(400, 403), needs_key=False,
)  # fmt: skip

CREATE_API_KEY = Operation(
    "POST", "/v1/api-keys", "site", "Create an API key for the caller's entity",
    answers={201: CreatedKey}, body=NewKey, errors=(400, 401, 403, 413, 415),
)  # fmt: skip

LIST_API_KEYS = Operation(
    "GET", "/v1/api-keys", "site", "List the API keys of the caller's entity, without their secrets",
    answers={200: KeyList}, errors=(401, 403),
)  # fmt: skip

REVOKE_API_KEY = Operation(
    "DELETE", "/v1/api-keys/{id}", "site", "Revoke an API key permanently",
    answers={200: KeyDetails}, errors=(401, 403, 404),
)  # fmt: skip
