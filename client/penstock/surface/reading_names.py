"""W&B's names for reading: of `Api`, of the runs that it returns, of lists of runs and of projects."""

from __future__ import annotations

from penstock.surface.names import Table, different, ignored, raises, same, unknown, unreadable

__all__ = ["API", "API_RUN", "PROJECT", "RUNS"]

_ARTIFACTS = "artifacts are not built yet"
_FILES = "reading a run's files is not built yet; the page shows and downloads them"
_OWN = "of W&B's own interface"
_TEAMS = "users and teams are not built yet"
_QUEUES = "Penstock starts no jobs"
_AUTOMATIONS = "Penstock has no automations"
_REGISTRIES = "Penstock has no registries"

API: Table = {
    **same("default_entity flush run sweep"),
    **different("viewer", "an object with `entity` and `username`, which are the API key's"),
    **different("runs", "sorted by newest first if no order is given"),
    **different(
        "project projects",
        "a project has `entity`, `name`, `run_count`, `created_at`, `url` and `path`",
    ),
    **different("from_path", "runs and projects only"),
    **different("user_agent", "Penstock's own"),
    **raises(
        "artifact artifact_collection artifact_collection_exists artifact_collections artifact_exists "
        "artifact_type artifact_types artifact_versions artifacts",
        _ARTIFACTS,
    ),
    **raises("create_run", "`penstock.init` starts runs"),
    **raises("create_project", "a project is made by its first run"),
    **raises("reports create_custom_chart", "reports and custom charts are not built yet"),
    **raises("sync_tensorboard", "reading TensorBoard's files is not built yet"),
    **raises("create_team create_user organization team user users", _TEAMS),
    **raises(
        "create_run_queue job list_jobs queued_run run_queue upsert_run_queue",
        _QUEUES,
    ),
    **raises(
        "automation automations create_automation delete_automation integrations slack_integrations "
        "update_automation webhook_integrations",
        _AUTOMATIONS,
    ),
    **raises("create_registry registries registry", _REGISTRIES),
}

API_RUN: Table = {
    **same(
        "config delete display entity id json_config lastHistoryStep name path rawconfig state "
        "summary_metrics sweep sweep_name to_html url username wait_until_finished"
    ),
    **different("load", "returns the run, read again"),
    **different("load_full_data", "everything is loaded at once; the same as `load`"),
    **different("history", "sampled evenly over the run; the stream `system` is empty"),
    **different("scan_history beta_scan_history", 'also `lanes="all"`, for every rank and attempt'),
    **different("summary", "a dict; changes to it are not sent"),
    **different("metadata", "host, program, Python version and so on, by Penstock's names"),
    **different("update", "sends name, notes, tags, group and job_type; not config or summary"),
    **different("save", "the same as `update`"),
    **unreadable("system_metrics", "the page shows them"),
    **raises("console_logs", "the page shows it"),
    **raises("file files download_history_exports", _FILES),
    **raises("upload_file", "uploading files is not built yet"),
    **raises("log_artifact logged_artifacts use_artifact used_artifacts", _ARTIFACTS),
    **raises("create", "`penstock.init` starts runs"),
    **raises("stop update_state", "only the run's own process sets its state"),
    **unknown("snake_to_camel storage_id", _OWN),
}

RUNS: Table = {
    **same("more"),
    **unknown("convert_objects cursor last_response next update_variables upgrade_to_full", _OWN),
    **raises("histories", "not built yet: read `history` of each run, or use `penstock export`"),
}

PROJECT: Table = {
    **same("path url"),
    **ignored("display", "the page shows it"),
    **raises("artifacts_types collections", _ARTIFACTS),
    **different("sweeps", "a list of all of them"),
    **unknown("id owner to_html snake_to_camel", _OWN),
}
