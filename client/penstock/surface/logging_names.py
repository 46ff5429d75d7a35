"""W&B's names for logging: of the module, of `Run`, of config and summary, and arguments of functions."""

from __future__ import annotations

from penstock.surface.names import Table, different, ignored, missing, raises, same, unknown

__all__ = ["ARGUMENTS", "CONFIG", "METRIC", "MODULE", "RUN", "SUMMARY"]

_MEDIA = "media, tables and custom charts are not built yet"
_ARTIFACTS = "artifacts are not built yet"
_FILES = "uploading files is not built yet; files in `run.dir` stay on this machine"
_FRAMEWORK = "Penstock has no integrations of its own yet"
_INTERNAL = "an internal part of the official client"
_OTHER_SERVICE = "a service of W&B's that Penstock does not have"

MODULE: Table = {
    **same(
        "AlertLevel Api CommError Error Run UsageError __version__ agent alert config define_metric "
        "ensure_configured finish init join log login mark_preempting require run sweep teardown "
        "termerror termlog termsetup termwarn unwatch watch"
    ),
    **different(
        "attach", "finds runs of this process; to another one, pass the `Run`, which can be pickled"
    ),
    **different("setup", "its settings are the defaults of later runs"),
    **different("Settings", "see Settings; unknown names are noted once, not refused"),
    **different("summary", "before `init` it holds what is set, for the next run"),
    **different("Config", "the class of `run.config`; runs make it"),
    **different(
        "errors", "`Error`, `CommError`, `AuthenticationError`, `UsageError`, `UnsupportedError`"
    ),
    **different(
        "env", "the variables' names, and `get_` and `set_` of project, entity and base_url"
    ),
    **different("util", "`generate_id` and `make_artifact_name_safe`"),
    **ignored(
        "Audio Classes EvalTable Graph Histogram Html Image JoinedTable Molecule Object3D Plotly Table Video "
        "box3d plot plot_table visualize",
        _MEDIA,
    ),
    **ignored("Artifact ArtifactTTL link_model log_artifact log_model", _ARTIFACTS),
    **raises("use_artifact use_model", _ARTIFACTS),
    **ignored("save", _FILES),
    **raises("restore", _FILES),
    **ignored("pin_config_keys", "the page has no pinned config keys"),
    **ignored("sklearn tensorboard tensorflow", _FRAMEWORK),
    **missing("catboost gym integration keras lightgbm sacred wandb_torch xgboost", _FRAMEWORK),
    **raises("controller", "sweeps are controlled by the server"),
    **different("apis", "`public.Api`, `Project`, `Run`, `Runs` and `Sweep`, for annotations"),
    **different("sdk wandb_sdk", "`wandb_run.Run`, for annotations"),
    **different("data_types", "the same classes as in the module itself"),
    **unknown("jupyter", "notebooks need no module of their own"),
    **unknown(
        "agents analytics api helper patched profiler proto trigger wandb wandb_agent wandb_lib",
        _INTERNAL,
    ),
    **ignored("sagemaker_auth", _OTHER_SERVICE),
}

RUN: Table = {
    **same(
        "alert config config_static define_metric disabled display entity finish group id job_type log "
        "mark_preempting name notes offline path project resumed settings start_time "
        "starting_step step sweep_id sweep_url tags to_html unwatch watch"
    ),
    **different("url project_url", "also of offline and disabled runs, where W&B has None"),
    **different("summary", "always there; in W&B it is set up by `init`"),
    **different(
        "dir sync_dir", "the run's own folder on this machine; what is in it is not uploaded yet"
    ),
    **different("status", "counts bytes that are not stored yet, rather than files"),
    **ignored("save", _FILES),
    **raises("restore", _FILES),
    **ignored(
        "finish_artifact link_artifact link_model log_artifact log_model upsert_artifact",
        _ARTIFACTS,
    ),
    **raises("use_artifact use_model", _ARTIFACTS),
    **different(
        "log_code", "keeps files with the run and returns how many, instead of an artifact"
    ),
    **ignored("write_logs", "print it: console output is recorded"),
    **ignored("pin_config_keys", "the page has no pinned config keys"),
}

CONFIG: Table = {
    **same("as_dict get items keys persist setdefaults"),
    **different("update", "values may change without `allow_val_change`, unless `strict` is set"),
    **different("merge_locked update_locked", "an update that locks nothing"),
}

SUMMARY: Table = same("get keys update")

METRIC: Table = same("hidden name step_metric step_sync summary")

ARGUMENTS: dict[str, Table] = {
    "init": {
        **same(
            "config config_exclude_keys config_include_keys dir entity group id job_type mode name notes "
            "project reinit resume save_code settings tags"
        ),
        **different("allow_val_change", "config values may always change, unless `strict` is set"),
        **different(
            "resume_from", "`ID?_step=N`; the config is the latest one, the summary starts empty"
        ),
        **different("fork_from", "`ID?_step=N`; waits until the server has copied the history"),
        **ignored("force", "a run without a login keeps its data until there is one"),
        **ignored("tensorboard sync_tensorboard", "reading TensorBoard's files is not built yet"),
        **ignored("monitor_gym", _FRAMEWORK),
        **ignored("anonymous", _OTHER_SERVICE),
    },
    "log": same("data step commit"),
    "finish": same("exit_code"),
    "join": same("exit_code"),
    "alert": same("title text level wait_duration"),
    "define_metric": {
        **same("name summary"),
        **different("step_metric hidden", "stored with the run; the page does not use it yet"),
        **different(
            "step_sync", "stored with the run; a row has only the metrics that were logged in it"
        ),
        **different("overwrite", "stored with the run; the latest definition of a metric counts"),
    },
    "login": {
        **same("key relogin host"),
        **different("timeout", "a prompt waits without limit; the server gets 20 s"),
        **different("force", "without a key the result is False and data is kept; nothing raises"),
        **different("verify", "a key is always checked"),
        **same("prompt"),
        **ignored("referrer anonymous", _OTHER_SERVICE),
    },
    "sweep": {
        **same("sweep entity project"),
        **ignored("prior_runs", "sweeps learn from their own runs only"),
    },
    "agent": {
        **same("sweep_id function entity project count"),
        **ignored("forward_signals term_timeout", "a program that is stopped gets 10 s"),
        **ignored("max_consecutive_failed_runs", "an agent gives up if its first five trials fail"),
    },
    "watch": same("models criterion log log_freq idx log_graph"),
    "unwatch": same("models"),
    "setup": same("settings"),
    "teardown": same("exit_code"),
    "attach": same("attach_id run_id run"),
    "require": same("requirement experiment"),
    "termlog": same("string newline repeat prefix"),
    "termwarn": same("string newline repeat prefix"),
    "termerror": same("string newline repeat prefix"),
}
"""By function. Those of `Run`'s methods are the same."""
