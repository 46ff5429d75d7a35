"""The fields of a run, declared once: what they are, and what may be done with them.

From here follow the records that set them, the catalog's columns and their limits, changes, the paths of
searches, the API's JSON with its models, and the tables of docs/api.md and docs/wire.md. A new plain field is
a line of `DescribedRun`, and a column in a migration. Fields that behave in their own way, such as config
and state, are declared here too; the functions that make them so are elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from penstock.wire.field_types import MAX_NAME_CHARS, MAX_TEXT_CHARS, FieldType, Map, Text, Texts

__all__ = [
    "PLAIN_FIELDS",
    "RUN_FACTS",
    "RUN_FIELDS",
    "STORED_FIELDS",
    "DescribedRun",
    "FieldShape",
    "PlainField",
    "RunFact",
    "RunField",
    "names_of",
    "searched_words",
]  # fmt: skip

_MAX_SECTION_BYTES = 16 << 20


class FieldShape(Enum):
    """What the values of a field are in the API; in Python times are microseconds, lists are tuples."""

    TEXT = "text"
    TEXTS = "list of texts"
    OBJECT = "object"
    TIME = "Unix seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunField:
    """What may be done with a field of a run."""

    label: str
    """What texts for people call it."""
    shape: FieldShape = FieldShape.TEXT
    about: str = ""
    """A description for the API's manual, if the name leaves anything open."""
    is_stored: bool = True
    """It is a column of the catalog's row."""
    is_path: bool = False
    """Runs can be filtered and sorted by it."""
    is_optional: bool = False
    """An empty value counts as unset, since such a field has no null."""
    searched_chars: int = 0
    """How many characters a text search looks at; 0: it does not search the field."""
    max_bytes: int | None = None
    """As JSON in the catalog; None: it is bounded elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainField(RunField):
    """A field that `run` records and edits set as it is, the later over the earlier one."""

    record: Text | Texts
    """Its type in a record."""
    edit: Text | Texts
    """Its type in an edit."""


@dataclass(frozen=True, slots=True)
class RunFact:
    """An entry of `info` that `run` records set."""

    record: FieldType
    is_path: bool = False


_KEY = "run_field"


def _field(
    label: str, shape: FieldShape = FieldShape.TEXT, about: str = "", **about_it: Any
) -> Any:
    return {_KEY: RunField(label=label, shape=shape, about=about, **about_it)}


def _plain_text(label: str, *, is_optional: bool = True) -> Any:
    return {
        _KEY: PlainField(
            label=label,
            record=Text(MAX_NAME_CHARS),
            edit=Text(1_000),
            is_path=True,
            is_optional=is_optional,
            searched_chars=MAX_TEXT_CHARS,
            max_bytes=64 << 10,
        )
    }


_TAGS = PlainField(
    label="tags",
    shape=FieldShape.TEXTS,
    record=Texts(),
    edit=Texts(1_000, 256),
    is_path=True,
    is_optional=True,
    searched_chars=MAX_TEXT_CHARS,
    max_bytes=1 << 20,
)
_NOTES = PlainField(
    label="notes",
    record=Text(),
    edit=Text(65_536),
    is_path=True,
    is_optional=True,
    searched_chars=4_096,
    max_bytes=1 << 20,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedRun:
    """A run's fields, in the order of the API's JSON. Times are microseconds since 1970 UTC."""

    entity: str = field(metadata=_field("entity", is_stored=False))
    project: str = field(metadata=_field("project", is_stored=False))
    run: str = field(
        metadata=_field(
            "id",
            about="The run's id, unique within its project.",
            is_path=True,
            searched_chars=MAX_TEXT_CHARS,
        )
    )
    name: str = field(metadata=_plain_text("name", is_optional=False))
    state: str = field(
        metadata=_field(
            "state", about="running, finished, failed, crashed or preempting", is_path=True
        )
    )
    group: str = field(default="", metadata=_plain_text("group"))
    job_type: str = field(default="", metadata=_plain_text("job type"))
    tags: tuple[str, ...] = field(default=(), metadata={_KEY: _TAGS})
    notes: str = field(default="", metadata={_KEY: _NOTES})
    config: dict[str, Any] = field(
        default_factory=dict,
        metadata=_field("config", FieldShape.OBJECT, max_bytes=_MAX_SECTION_BYTES),
    )
    summary: dict[str, Any] = field(
        default_factory=dict,
        metadata=_field(
            "summary",
            FieldShape.OBJECT,
            "The last logged value of each key; explicitly set values take precedence.",
            max_bytes=_MAX_SECTION_BYTES,
        ),
    )
    info: dict[str, Any] = field(
        default_factory=dict,
        metadata=_field(
            "info",
            FieldShape.OBJECT,
            "Host, program, Python version and so on; define_metric rules.",
            max_bytes=_MAX_SECTION_BYTES,
        ),
    )
    created_at: int = field(
        metadata=_field("created", FieldShape.TIME, "Unix seconds.", is_path=True)
    )
    updated_at: int = field(
        metadata=_field("updated", FieldShape.TIME, "Unix seconds.", is_path=True)
    )


RUN_FIELDS: dict[str, RunField] = {each.name: each.metadata[_KEY] for each in fields(DescribedRun)}

PLAIN_FIELDS: dict[str, PlainField] = {
    name: each for name, each in RUN_FIELDS.items() if isinstance(each, PlainField)
}

STORED_FIELDS: tuple[str, ...] = tuple(name for name, each in RUN_FIELDS.items() if each.is_stored)
"""Those that are columns of the catalog's row."""


def names_of(shape: FieldShape) -> tuple[str, ...]:
    """The stored fields of this shape."""
    return tuple(name for name in STORED_FIELDS if RUN_FIELDS[name].shape is shape)


_FACT = RunFact(Text(MAX_NAME_CHARS))
_FOUND_BY = RunFact(Text(MAX_NAME_CHARS), is_path=True)

RUN_FACTS: dict[str, RunFact] = {
    "host": _FOUND_BY,
    "program": _FACT,
    "python": _FACT,
    "commit": _FACT,
    "sweep": _FOUND_BY,
    "command": _FACT,
    "executable": _FACT,
    "cwd": _FACT,
    "os": _FACT,
    "user": _FACT,
    "exit_reason": _FACT,
    "git": RunFact(Map()),
    "launcher": RunFact(Map()),
    "wandb": RunFact(Map()),
}
"""Entries of `info` with a type; records may add others."""


def searched_words() -> str:
    """What a text search looks at, as words."""
    *labels, last = (each.label for each in RUN_FIELDS.values() if each.searched_chars)
    return f"{', '.join(labels)} or {last}"
