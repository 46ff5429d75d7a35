"""The settings of `init`: arguments, then PENSTOCK_* variables, then W&B's, then the defaults."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.conversion import converted
from penstock.credentials import DEFAULT_BASE_URL, default_url, stored_entity, stored_key
from penstock.notices import NOTICES
from penstock.pasted import UNSET, repaired_proxy
from penstock.spool.root import default_root

__all__ = ["DEFAULT_BASE_URL", "RUN_SETTINGS", "Settings", "launcher_rank"]

RUN_SETTINGS = ("name", "group", "job_type", "tags", "notes")
"""Settings that are plain fields of the run. `penstock.wire.run_fields` declares these, but `init` must stay
cheap and does not load it; a test compares the two."""

_VARIABLES = {
    "base_url": ("PENSTOCK_BASE_URL", "WANDB_BASE_URL"),
    "api_key": ("PENSTOCK_API_KEY", "WANDB_API_KEY"),
    "entity": ("PENSTOCK_ENTITY", "WANDB_ENTITY"),
    "project": ("PENSTOCK_PROJECT", "WANDB_PROJECT"),
    "run_id": ("PENSTOCK_RUN_ID", "WANDB_RUN_ID"),
    **{
        name: (f"PENSTOCK_{name.upper()}", f"WANDB_{name.upper()}", f"WANDB_RUN_{name.upper()}")
        for name in RUN_SETTINGS
    },
    "group": ("PENSTOCK_RUN_GROUP", "WANDB_RUN_GROUP"),
    "notes": ("PENSTOCK_NOTES", "WANDB_NOTES", "WANDB_RUN_NOTES", "WANDB_DESCRIPTION"),
    "mode": ("PENSTOCK_MODE", "WANDB_MODE"),
    "sweep_id": ("PENSTOCK_SWEEP_ID", "WANDB_SWEEP_ID"),
    "resume": ("PENSTOCK_RESUME", "WANDB_RESUME"),
    "resume_from": ("PENSTOCK_RESUME_FROM", "WANDB_RESUME_FROM"),
    "fork_from": ("PENSTOCK_FORK_FROM", "WANDB_FORK_FROM"),
    "reinit": ("PENSTOCK_REINIT", "WANDB_REINIT"),
    "dir": ("PENSTOCK_DIR",),
    "spool_limit_bytes": ("PENSTOCK_SPOOL_LIMIT_BYTES",),
    "on_full": ("PENSTOCK_ON_FULL",),
    "silent": ("PENSTOCK_SILENT", "WANDB_SILENT"),
    "quiet": ("PENSTOCK_QUIET", "WANDB_QUIET"),
    "strict": ("PENSTOCK_STRICT",),
    "join": ("PENSTOCK_JOIN",),
    "finish_timeout_s": ("PENSTOCK_FINISH_TIMEOUT_S", "WANDB_FINISH_TIMEOUT"),
    "ca_file": ("PENSTOCK_CA_FILE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
    "host_name": ("PENSTOCK_HOST_NAME", "WANDB_HOST"),
    "label": ("PENSTOCK_LABEL", "WANDB_X_LABEL", "WANDB__LABEL"),
    "primary": ("PENSTOCK_PRIMARY", "WANDB_X_PRIMARY", "WANDB__PRIMARY"),
    "system_metrics": ("PENSTOCK_SYSTEM_METRICS",),
    "x_disable_stats": ("WANDB_X_DISABLE_STATS", "WANDB__DISABLE_STATS"),
    "system_interval_s": (
        "PENSTOCK_SYSTEM_INTERVAL_S", "WANDB_X_STATS_SAMPLING_INTERVAL",
        "WANDB__STATS_SAMPLING_INTERVAL",
    ),
    "console": ("PENSTOCK_CONSOLE", "WANDB_CONSOLE"),
    "facts": ("PENSTOCK_FACTS",),
    "disable_git": ("WANDB_DISABLE_GIT",),
    "disable_code": ("WANDB_DISABLE_CODE",),
    "save_code": ("PENSTOCK_SAVE_CODE", "WANDB_SAVE_CODE"),
}  # fmt: skip
_OTHER_NAMES = {
    **{f"run_{name}": name for name in RUN_SETTINGS},
    "finish_timeout": "finish_timeout_s",
    "host": "host_name",
    "x_label": "label",
    "x_primary": "primary",
    "x_stats_sampling_interval": "system_interval_s",
    "id": "run_id",
    "sweep": "sweep_id",
}
"""Settings that W&B or an argument of `init` calls by another name."""
_NEEDLESS = frozenset({"start_method"})
"""Older settings of W&B's for problems that Penstock does not have: they are not even noted."""
_NAMES_OF_THINGS = frozenset({"api_key", "base_url", "entity", "project", "run_id", "ca_file"})
_RANK_VARIABLES = (
    "PENSTOCK_RANK", "RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"
)  # fmt: skip


class Settings:
    """Every setting, with its default. Unknown ones, such as W&B's, are noted once and ignored.

    ``Settings(base_url="https://penstock.example.org", on_full="block")``
    """

    base_url: str = DEFAULT_BASE_URL
    """The server's address; defaults to the server last logged in to."""
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
    """The run's sweep, set by an agent."""
    mode: str = "online"
    """online, offline (keep data on disk until `penstock sync`), disabled, or shared (several
    processes log to one run)."""
    resume: str | None = None
    """allow, must, never: whether to resume an existing run with this id. auto (also True): without an id,
    resume the script's last run on this machine if that did not finish."""
    resume_from: str | None = None
    """ID?_step=N: resume the run with this id after its step N; what was logged later no longer counts."""
    fork_from: str | None = None
    """ID?_step=N: start a new run with the history of this one up to its step N."""
    reinit: str | bool | None = None
    """What a second `init` does: return_previous (default), finish_previous (default in notebooks),
    create_new."""
    dir: str = ""
    """The folder for data on its way to the server; default: /var/tmp/penstock-<uid>. If it is not
    writable, another private folder is used."""
    spool_limit_bytes: int = 2 << 30
    on_full: str = "drop"
    """At `spool_limit_bytes`: drop (the newest rows, counted and reported) or block."""
    silent: bool = False
    quiet: bool = False
    """Let `finish` say only what went wrong."""
    strict: bool = False
    """Raise on misuse of `log` and of names, on changes of config entries without `allow_val_change`, on values
    that must be cut or left out, and on errors of Penstock's own, instead of going on with a warning."""
    allow_val_change: bool = False
    """With `strict`: let config entries change."""
    finish_timeout_s: float = 60.0
    ca_file: str | None = None
    host_name: str = ""
    """This machine's name, shown with its runs; on a network file system also the name of its folder.
    Default: the host name, which in a container is the pod's and changes with every pod."""
    label: str = ""
    """Shown instead of this machine's name."""
    http_proxy: str | None = None
    https_proxy: str | None = None
    """Instead of the variables of these names."""
    system_metrics: bool = True
    """Whether this machine's CPU, memory, disks, network and GPUs are recorded with the run."""
    system_interval_s: float = 10.0
    """Between two measurements, 0.5 to 3,600."""
    x_disable_stats: bool = False
    """W&B's name for the opposite of `system_metrics`."""
    disable_git: bool = False
    disable_code: bool = False
    """W&B's ways to leave git out of `facts`, and not to keep code whatever `save_code` says."""
    console: str = "auto"
    """What is recorded of the output: redirect (all of the process and its children), wrap (what Python's
    print writes), off, or auto (wrap in notebooks, otherwise redirect)."""
    facts: tuple[str, ...] = ("machine", "packages", "git")
    """What is recorded of a run's surroundings: machine (also command and launcher), packages, git (also what
    differs from the commit), or off."""
    save_code: bool = False
    """Keep the main script with the run."""
    rank: int = 0
    join: bool = True
    """Whether the processes that a launcher (torchrun, srun, mpirun …) starts log to one run, each under its
    rank, and a launcher's restart resumes it."""
    primary: bool | None = None
    """Whether this process determines the run's state; default: yes, unless it joined another
    process's run with a rank above 0."""

    def __init__(self, **given: Any) -> None:
        self.given: dict[str, Any] = {}
        self.without_effect: dict[str, Any] = {}
        """Settings of W&B's that were set and have no effect."""
        self.problem = ""
        """Why nothing can be sent with these settings; empty if it can."""
        self.update(given)

    def update(self, given: Mapping[str, Any], source: str = "") -> None:
        """Set values other than None, which then count as explicit. Raises ValueError for impossible
        values. `source`: their origin in the environment; names are then repaired."""
        for name, value in given.items():
            self._set(name, value, source)

    def copy(self) -> Settings:
        return Settings(**self.given)

    def __getattr__(self, name: str) -> Any:
        """Settings by W&B's names; those without effect are what they were set to, or None."""
        if name in _OTHER_NAMES:
            return getattr(self, _OTHER_NAMES[name])
        if not name.startswith("_"):
            if name == "root_dir":
                return os.path.dirname(self.dir) if self.dir else None  # noqa: PTH120
            from penstock.surface.setting_names import SETTINGS  # noqa: PLC0415  (rarely needed)

            if name in SETTINGS:
                return self.without_effect.get(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        shown = {name: value for name, value in self.given.items() if name != "api_key"}
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def resolve(
        cls, given: Settings | Mapping[str, Any] | None, arguments: Mapping[str, Any]
    ) -> Settings:
        """The effective settings: `arguments` over `given` over the environment over the login file.

        Invalid environment variables are reported and ignored, since they were set for many scripts,
        none of which should end because of them. Raises ValueError for invalid values in the others.
        """
        settings = cls()
        settings._read_environment(os.environ)
        stated = given.given if isinstance(given, Settings) else given
        settings.update(stated or {})
        settings.update(arguments)
        if "base_url" not in settings.given and not settings.problem:
            settings.base_url = default_url()
        return settings

    @property
    def key(self) -> str:
        """The effective API key: the given one, or else the one from the login."""
        return self.api_key or stored_key(self.base_url) or ""

    @property
    def known_entity(self) -> str | None:
        """The runs' entity, if it was given or is known from the login."""
        if self.entity:
            return self.entity
        return stored_entity(self.base_url, self.key)

    def _set(self, name: str, value: Any, variable: str = "") -> None:
        """`variable`: the environment variable that set it."""
        name = _OTHER_NAMES.get(name, name)
        if value is None:
            return
        if name.startswith("_"):  # W&B's private names of the time before `x_`
            name = _OTHER_NAMES.get(f"x{name}", f"x{name}")
        if name == "root_dir":
            name, value = "dir", os.path.join(value, "penstock")  # noqa: PTH118
        if name in _NEEDLESS:
            return
        if name not in _NAMES:
            self._note(name, value)
            return
        taken = converted(name, value, is_mended=bool(variable))
        if taken.change:
            where = variable or name
            NOTICES.warn(f"setting {where}", f"{where}: {taken.change}")
        if taken.value is not None:
            setattr(self, name, taken.value)
            self.given[name] = taken.value

    def _note(self, name: str, value: Any) -> None:
        """Keep a setting without effect, and say so once, with the reason if it is W&B's."""
        from penstock.surface.setting_names import SETTINGS  # noqa: PLC0415  (rarely needed)

        self.without_effect[name] = value
        if value is False:  # it is off here, too
            return
        why = f": {SETTINGS[name].about}" if name in SETTINGS else " in Penstock"
        NOTICES.warn(f"setting {name}", f"the setting {name!r} has no effect{why}")

    def _read_environment(self, environment: Mapping[str, str]) -> None:
        for name, variables in _VARIABLES.items():
            for variable in variables:
                text = environment.get(variable, "").strip()
                if text and not (name in _NAMES_OF_THINGS and text.lower() in UNSET):
                    self._take_variable(name, variable, environment[variable])
                    break
        if not self.dir and environment.get("WANDB_DIR"):
            folder = os.path.join(environment["WANDB_DIR"], "penstock")  # noqa: PTH118
            self._take_variable("dir", "WANDB_DIR", folder)
        self.rank = launcher_rank(environment)
        if environment.get("WANDB_DISABLED", "").strip().lower() in ("1", "true", "yes", "on"):
            self.update({"mode": "disabled"})

    def _take_variable(self, name: str, variable: str, text: str) -> None:
        try:
            self._set(name, text, variable)
        except ValueError as error:
            if name == "base_url":  # to no server other than the intended one
                self.problem = f"{variable}: {error}"
                self.base_url = text.strip()
                return
            NOTICES.warn(f"setting {variable}", f"{variable} is ignored: {error}")

    @property
    def proxies(self) -> dict[str, str]:
        """The environment's proxies, read as urllib does (which is slow to import)."""
        found: dict[str, str] = {}
        stated = {"http_proxy": self.http_proxy or "", "https_proxy": self.https_proxy or ""}
        given = {name: value for name, value in stated.items() if value}
        # Lower case comes last and wins.
        for variable, value in [*sorted(os.environ.items()), *given.items()]:
            name = variable.lower()
            if not name.endswith("_proxy") or not value.strip():
                continue
            scheme = name.removesuffix("_proxy")
            try:
                is_url = scheme == self.base_url.partition(":")[0]
                found[scheme] = repaired_proxy(value) if is_url else value.strip()
            except ValueError as error:
                NOTICES.warn(f"setting {variable}", f"{variable} is ignored: {error}")
        return found

    @property
    def root(self) -> Path:
        return Path(self.dir) if self.dir else default_root()


_NAMES = frozenset(name for name in Settings.__annotations__)


def launcher_rank(environment: Mapping[str, str]) -> int:
    """This process's rank from its launcher; 0 without one."""
    for variable in _RANK_VARIABLES:
        text = environment.get(variable, "")
        if text.isascii() and text.isdigit() and len(text) < 10:  # anything larger is not a rank
            return int(text)
    return 0


def program() -> str:
    """The running script, as the user would name it."""
    return sys.argv[0] if sys.argv and sys.argv[0] else ""
