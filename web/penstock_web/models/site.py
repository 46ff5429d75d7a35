"""Who asks, their projects, the page's session, and what happens live."""

from __future__ import annotations

from pydantic import Field

from penstock_common.openapi import Operation, Raw
from penstock_web.models import Answered, Asked

__all__ = [
    "OPERATIONS",
    "KnownKey",
    "KnownKeys",
    "Login",
    "Logout",
    "MadeKey",
    "NewKey",
    "Project",
    "Projects",
    "Status",
    "Viewer",
]


class Viewer(Answered):
    entity: str = Field(description="The asker's own entity.")
    version: str = Field(description="The server's version.")
    may_write: bool = Field(description="Whether the asker may change runs of that entity.")
    login_required: bool = Field(description="Whether reading needs a login or a key here.")


class StatedProblem(Answered):
    code: str = Field(description="What kind of problem; docs/operations.md lists them.")
    text: str = Field(description="What is wrong, in plain words.")
    subject: str = Field(description="Which part, disk or run it is about, if any.")
    since: float = Field(description="Unix seconds.")
    hint: str = Field(description="What to do about it.")
    stops: bool = Field(description="Whether it keeps what clients send from being stored.")


class Status(Answered):
    problems: list[StatedProblem] = Field(description="What is wrong now, the gravest first.")


class Project(Answered):
    entity: str
    project: str
    runs: int = Field(description="How many runs it has.")
    created_at: float = Field(description="Unix seconds.")
    updated_at: float = Field(description="When a run of it last got data; Unix seconds.")


class Projects(Answered):
    projects: list[Project]


class Login(Asked):
    api_key: str = Field(description="penstock_…", min_length=1, max_length=1_000)


class Logout(Asked):
    everywhere: bool = Field(
        False, description="End all sessions of the API key that this one stands for."
    )


class NewKey(Asked):
    label: str = Field("", description="What it is for, for its owner.", max_length=200)
    expires_at: float | None = Field(
        None,
        description="When it stops working, in Unix seconds; never, or with the asker's, if absent.",
        gt=0,
        lt=1e11,
        allow_inf_nan=False,
    )


class KnownKey(Answered):
    id: str = Field(description="The part of the key that is no secret.")
    entity: str
    scopes: list[str]
    label: str = Field(description="What it is for.")
    created_at: float = Field(description="Unix seconds.")
    last_used_at: float | None = Field(description="Unix seconds, to the minute.")
    expires_at: float | None = Field(description="Unix seconds.")
    revoked: bool


class KnownKeys(Answered):
    api_keys: list[KnownKey] = Field(description="The oldest first.")


class MadeKey(Answered):
    id: str = Field(description="The part of the key that is no secret.")
    entity: str
    scopes: list[str]
    expires_at: float | None = Field(description="Unix seconds.")
    api_key: str = Field(description="penstock_…; it is shown this once.")


OPERATIONS = [
    Operation(
        "GET", "/v1/viewer", "site", "Who asks",
        answers={200: Viewer}, errors=(401,), needs_key=False,
    ),
    Operation(
        "GET", "/v1/status", "site", "What is wrong with the server now",
        answers={200: Status}, errors=(401,), needs_key=False,
    ),
    Operation(
        "GET", "/v1/projects", "site", "The projects that the asker may read",
        answers={200: Projects}, errors=(401,), needs_key=False,
    ),
    Operation(
        "GET", "/v1/projects/{entity}/{project}/events", "site", "What advances, as it happens",
        answers={
            200: Raw("text/event-stream", "Server-sent events, at most four times a second.")
        },
        errors=(401, 404), needs_key=False,
    ),
    Operation(
        "POST", "/v1/session", "site", "Log the page in with an API key; sets a cookie",
        answers={204: None}, body=Login, errors=(400, 401, 403, 413, 415, 429), needs_key=False,
    ),
    Operation(
        "DELETE", "/v1/session", "site", "Log the page out, here or everywhere",
        answers={204: None}, query=Logout, errors=(400, 403), needs_key=False,
    ),
    Operation(
        "POST", "/v1/api-keys", "site", "A new API key of the asker's entity",
        answers={201: MadeKey}, body=NewKey, errors=(400, 401, 403, 413, 415),
    ),
    Operation(
        "GET", "/v1/api-keys", "site", "The API keys of the asker's entity, without their secrets",
        answers={200: KnownKeys}, errors=(401, 403),
    ),
    Operation(
        "DELETE", "/v1/api-keys/{id}", "site", "Revoke an API key for good",
        answers={200: KnownKey}, errors=(401, 403, 404),
    ),
]  # fmt: skip
