"""What `init` goes by: arguments, then PENSTOCK_* variables, then W&B's, then the defaults."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.notices import NOTICES
from penstock.root import default_root

__all__ = ["DEFAULT_BASE_URL", "Settings", "launcher_rank"]

DEFAULT_BASE_URL = "http://127.0.0.1:8080"
MODES = ("online", "offline", "disabled", "shared")

_VARIABLES = {
    "base_url": ("PENSTOCK_BASE_URL", "WANDB_BASE_URL"),
    "api_key": ("PENSTOCK_API_KEY", "WANDB_API_KEY"),
    "entity": ("PENSTOCK_ENTITY", "WANDB_ENTITY"),
    "project": ("PENSTOCK_PROJECT", "WANDB_PROJECT"),
    "run_id": ("PENSTOCK_RUN_ID", "WANDB_RUN_ID"),
    "name": ("PENSTOCK_NAME", "WANDB_NAME"),
    "group": ("PENSTOCK_RUN_GROUP", "WANDB_RUN_GROUP"),
    "job_type": ("PENSTOCK_JOB_TYPE", "WANDB_JOB_TYPE"),
    "tags": ("PENSTOCK_TAGS", "WANDB_TAGS"),
    "notes": ("PENSTOCK_NOTES", "WANDB_NOTES"),
    "mode": ("PENSTOCK_MODE", "WANDB_MODE"),
    "sweep_id": ("PENSTOCK_SWEEP_ID",),
    "resume": ("PENSTOCK_RESUME", "WANDB_RESUME"),
    "dir": ("PENSTOCK_DIR",),
    "spool_limit_bytes": ("PENSTOCK_SPOOL_LIMIT_BYTES",),
    "on_full": ("PENSTOCK_ON_FULL",),
    "silent": ("PENSTOCK_SILENT", "WANDB_SILENT"),
    "strict": ("PENSTOCK_STRICT",),
    "ca_file": ("PENSTOCK_CA_FILE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
}
_RANK_VARIABLES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK")


class Settings:
    """Every setting, with its default. Unknown ones, such as W&B's, are noted once and ignored.

    ``Settings(base_url="https://penstock.example.org", on_full="block")``
    """

    base_url: str = DEFAULT_BASE_URL
    """Where the server is."""
    api_key: str = ""
    entity: str | None = None
    project: str = "uncategorized"
    run_id: str | None = None
    name: str | None = None
    group: str | None = None
    job_type: str | None = None
    tags: tuple[str, ...] = ()
    notes: str | None = None
    sweep_id: str | None = None
    """The sweep that the run belongs to; an agent sets it."""
    mode: str = "online"
    """online, offline (keep data on disk until `penstock sync`), disabled, or shared (several
    processes log to one run)."""
    resume: str | None = None
    """allow, must, never, auto: whether an existing run of this id goes on."""
    reinit: str | bool | None = None
    """What a second `init` does: return_previous (default), finish_previous, create_new."""
    dir: str = ""
    """The folder for data on its way to the server; default: /var/tmp/penstock-<uid>."""
    spool_limit_bytes: int = 2 << 30
    on_full: str = "drop"
    """When `spool_limit_bytes` is reached: drop (the newest rows, counted and reported) or block."""
    silent: bool = False
    strict: bool = False
    """Raise on misuse of `log` instead of dropping the row with a warning."""
    finish_timeout_s: float = 60.0
    ca_file: str | None = None
    rank: int = 0
    primary: bool | None = None
    """Whether this process speaks for the run's state; default: it does unless it joined another
    process's run with a rank above 0."""

    def __init__(self, **given: Any) -> None:
        self.given: dict[str, Any] = {}
        self.update(given)

    def update(self, given: Mapping[str, Any]) -> None:
        """Set what is not None; it counts as given explicitly."""
        for name, value in given.items():
            if value is None:
                continue
            if name not in _NAMES:
                NOTICES.warn(f"setting {name}", f"the setting {name!r} is not used here")
                continue
            converted = _converted(name, value)
            setattr(self, name, converted)
            self.given[name] = converted

    def copy(self) -> Settings:
        return Settings(**self.given)

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.given.items() if name != "api_key"}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def resolve(
        cls, given: Settings | Mapping[str, Any] | None, arguments: Mapping[str, Any]
    ) -> Settings:
        """The settings in force: `arguments` over `given` over the environment."""
        settings = cls()
        settings._read_environment(os.environ)
        stated = given.given if isinstance(given, Settings) else given
        settings.update(stated or {})
        settings.update(arguments)
        if settings.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {settings.mode!r}")
        return settings

    def _read_environment(self, environment: Mapping[str, str]) -> None:
        for name, variables in _VARIABLES.items():
            for variable in variables:
                if environment.get(variable):
                    self.update({name: environment[variable]})
                    break
        if not self.dir and environment.get("WANDB_DIR"):
            self.update({"dir": str(Path(environment["WANDB_DIR"]) / "penstock")})
        self.update({"rank": launcher_rank(environment)})
        if environment.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes"):
            self.update({"mode": "disabled"})

    @property
    def proxies(self) -> dict[str, str]:
        """The proxies of the environment, as urllib reads them (which is slow to import)."""
        found: dict[str, str] = {}
        for variable, value in sorted(os.environ.items()):  # lower case comes last and wins
            name = variable.lower()
            if name.endswith("_proxy") and value:
                found[name.removesuffix("_proxy")] = value
        return found

    @property
    def root(self) -> Path:
        return Path(self.dir) if self.dir else default_root()


_NAMES = frozenset(name for name in Settings.__annotations__)


def launcher_rank(environment: Mapping[str, str]) -> int:
    """This process's rank as its launcher tells it; 0 without one."""
    for variable in _RANK_VARIABLES:
        text = environment.get(variable, "")
        if text.isdigit():
            return int(text)
    return 0


def _converted(name: str, value: Any) -> Any:
    kind: Any = type(getattr(Settings, name, None))
    if name == "base_url":
        return str(value).rstrip("/")
    if name == "tags":
        return tuple(str(value).split(",")) if isinstance(value, str) else tuple(map(str, value))
    if name == "resume":
        return "allow" if value is True else None if value is False else str(value)
    if kind is bool:
        return (
            value if isinstance(value, bool) else str(value).lower() in ("1", "true", "yes", "on")
        )
    if kind is int:
        return int(value)
    if name == "mode":
        modes = {"dryrun": "offline", "run": "online", "": "online"}
        return modes.get(str(value).lower(), str(value).lower())
    if name == "dir":
        return str(Path(value).expanduser().absolute())
    return value


def program() -> str:
    """The script that runs, as the user would name it."""
    return sys.argv[0] if sys.argv and sys.argv[0] else ""
