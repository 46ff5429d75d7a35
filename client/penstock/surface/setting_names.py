"""W&B's settings, and the `WANDB_*` variables that are no settings."""

from __future__ import annotations

from penstock.surface.names import Table, different, ignored, same

__all__ = ["SETTINGS", "VARIABLES"]

_LATER = "not built yet"
_INTERNAL = "of the official client's own process and streams"
_SERVICE = "of a service of W&B's that Penstock does not have"
_SHOWN = "`silent` prints nothing; there are no colours"
_NETWORK = "the shipper has its own pace, back-off and time limits"

SETTINGS: Table = {
    **same(
        "allow_val_change api_key base_url entity mode project reinit resume run_group run_id "
        "run_job_type run_name run_notes run_tags silent sweep_id x_primary"
    ),
    **different("finish_timeout", "60 s by default, where W&B waits without limit"),
    **different(
        "strict", "raises on misuse of `log` and config, and for names that have no effect"
    ),
    **different("host", "also the name of this machine's folder on a network file system"),
    **different("root_dir", "data is kept in its subfolder `penstock`, and the run's folder there"),
    **different("fork_from resume_from", "see `init`"),
    **different("http_proxy https_proxy", "instead of the variables of these names"),
    **different("x_label", "shown as the name of this machine"),
    **different("quiet", "`finish` then says only what went wrong"),
    **different("console", "all ways to wrap are one; `auto` redirects, outside of notebooks"),
    **ignored(
        "console_chunk_max_bytes console_chunk_max_seconds console_multipart",
        "console output has no parts",
    ),
    **ignored("capture_loggers", "what loggers print is recorded with the console output"),
    **same("disable_git disable_code save_code"),
    **ignored("code_dir", "pass the folder to `log_code`"),
    **ignored(
        "disable_git_fork_point git_commit git_remote git_remote_url git_root",
        "git is asked in the working folder; `PENSTOCK_FACTS`",
    ),
    **ignored(
        "x_disable_meta x_disable_machine_info x_save_requirements", "recording these is " + _LATER
    ),
    **ignored(
        "x_stats_buffer_size x_stats_cpu_count x_stats_cpu_logical_count "
        "x_stats_dcgm_exporter x_stats_disk_paths x_stats_gpu_count x_stats_gpu_device_ids "
        "x_stats_gpu_type x_stats_neuron_monitor_config_path x_stats_no_cgroup "
        "x_stats_open_metrics_endpoints x_stats_open_metrics_filters x_stats_open_metrics_http_headers "
        "x_stats_pid x_stats_self_usage x_stats_track_process_tree",
        "system metrics need no such setting; see docs/recorded.md",
    ),
    **same("x_disable_stats"),
    **different("x_stats_sampling_interval", "10 s by default"),
    **ignored("x_stats_coreweave_metadata_base_url x_stats_coreweave_metadata_endpoint", _SERVICE),
    **ignored(
        "notebook_name x_jupyter_name x_jupyter_path x_jupyter_root", "notebooks' code is " + _LATER
    ),
    **ignored(
        "allow_media_symlink allow_offline_artifacts azure_account_url_to_access_key ignore_globs symlink "
        "table_raise_on_max_row_limit_exceeded x_files_dir",
        "files and artifacts are " + _LATER,
    ),
    **ignored("sync_tensorboard", "reading TensorBoard's files is " + _LATER),
    **ignored("config_paths", "pass a path to `init(config=…)`"),
    **ignored("credentials_file identity_token_file", "`penstock login` has its own file"),
    **ignored("insecure_disable_ssl", "name the certificates to trust in `PENSTOCK_CA_FILE`"),
    **ignored("init_timeout login_timeout summary_timeout", "`init` does not wait for the server"),
    **ignored("finish_timeout_raises", "`finish` never raises"),
    **ignored("stop_fn stop_on_fatal_error", "nothing of Penstock's stops a training script"),
    **ignored("relogin force", "`penstock login` asks for a key"),
    **ignored("show_colors show_emoji show_errors show_info show_warnings", _SHOWN),
    **ignored(
        "max_end_of_run_history_metrics max_end_of_run_summary_metrics summary_warnings",
        "no summary is printed at the end",
    ),
    **ignored(
        "program program_abspath program_relpath username email docker",
        "the script's own name is recorded",
    ),
    **ignored(
        "anonymous app_url_override disable_job_creation job_name job_source launch launch_config_path "
        "organization sagemaker_disable use_dot_wandb x_runqueue_item_id",
        _SERVICE,
    ),
    **ignored("sweep_param_path", "agents pass parameters in `PENSTOCK_SWEEP_PARAMETERS`"),
    **ignored("heartbeat_seconds label_disable settings_system", _INTERNAL),
    **ignored(
        "x_file_stream_max_bytes x_file_stream_max_line_bytes x_file_stream_no_gzip x_file_stream_retry_max "
        "x_file_stream_retry_wait_max_seconds x_file_stream_retry_wait_min_seconds "
        "x_file_stream_timeout_seconds x_file_stream_transmit_interval x_file_transfer_retry_max "
        "x_file_transfer_retry_wait_max_seconds x_file_transfer_retry_wait_min_seconds "
        "x_file_transfer_timeout_seconds x_graphql_retry_max x_graphql_retry_wait_max_seconds "
        "x_graphql_retry_wait_min_seconds x_graphql_timeout_seconds",
        _NETWORK,
    ),
    **ignored(
        "x_extra_http_headers x_proxies",
        "requests carry no further headers; proxies come from variables",
    ),
    **ignored("resumed", "see `run.resumed`"),
    **ignored("x_start_time", "a run starts when it is started"),
    **ignored(
        "x_update_finish_state", "`x_primary=False` leaves the run's state to another process"
    ),
    **ignored("x_server_side_derived_summary", "the server derives the summary already"),
    **ignored(
        "x_cli_only_mode x_disable_viewer x_executable x_flow_control_custom x_flow_control_disabled "
        "x_history_value_encoding x_internal_check_process x_live_policy_rate_limit x_live_policy_wait_time "
        "x_log_level x_network_buffer x_service_transport x_service_wait x_skip_transaction_log x_sync "
        "x_sync_dir_suffix x_transaction_log_flush_interval",
        _INTERNAL,
    ),
}
"""Each can be set, also by the variable `WANDB_` and its name in capitals where it is not ignored."""

VARIABLES: Table = {
    **same(
        "WANDB_API_KEY WANDB_BASE_URL WANDB_ENTITY WANDB_JOB_TYPE WANDB_MODE WANDB_NAME WANDB_NOTES "
        "WANDB_PROJECT WANDB_RESUME WANDB_RUN_GROUP WANDB_RUN_ID WANDB_SILENT WANDB_TAGS"
    ),
    **same("WANDB_DISABLE_CODE WANDB_DISABLE_GIT WANDB_SAVE_CODE"),
    **different("WANDB_DIR", "data is kept in its subfolder `penstock`"),
    **different("WANDB_HOST", "the name of this machine; `PENSTOCK_HOST_NAME`"),
    **different("WANDB_QUIET", "`finish` then says only what went wrong"),
    **different("WANDB_SWEEP_ID", "`PENSTOCK_SWEEP_ID`, which an agent sets"),
    **different("WANDB_DESCRIPTION", "the run's notes"),
    **ignored(
        "WANDB_GIT_COMMIT WANDB_GIT_REMOTE_URL WANDB_GIT_ROOT",
        "git is asked in the working folder; `PENSTOCK_FACTS`",
    ),
    **ignored(
        "WANDB_IGNORE_GLOBS WANDB_ARTIFACT_DIR WANDB_ARTIFACT_FETCH_FILE_URL_BATCH_SIZE WANDB_CACHE_DIR "
        "WANDB_DATA_DIR WANDB_RUN_DIR",
        "files and artifacts are " + _LATER,
    ),
    **ignored("WANDB_NOTEBOOK_NAME WANDB_JUPYTER", "notebooks need no setting"),
    **ignored("WANDB_ENABLE_DCGM_PROFILING", "DCGM's metrics are not recorded"),
    **ignored(
        "WANDB_CONFIG_DIR WANDB_CREDENTIALS_FILE WANDB_IDENTITY_TOKEN_FILE",
        "`penstock login` has its own file",
    ),
    **ignored("WANDB_CONFIG_PATHS", "pass a path to `init(config=…)`"),
    **ignored("WANDB_SWEEP_PARAM_PATH", "agents pass parameters in `PENSTOCK_SWEEP_PARAMETERS`"),
    **ignored("WANDB_INSECURE_DISABLE_SSL", "name the certificates to trust in `PENSTOCK_CA_FILE`"),
    **ignored("WANDB_INIT_TIMEOUT", "`init` does not wait for the server"),
    **ignored("WANDB_HTTP_TIMEOUT WANDB_FILE_PUSHER_TIMEOUT", _NETWORK),
    **ignored("WANDB_PROGRAM WANDB_USERNAME WANDB_USER_EMAIL WANDB_DOCKER", "not recorded"),
    **ignored("WANDB_SHOW_RUN", "the page's address is always printed"),
    **ignored(
        "WANDB_AGENT_DISABLE_FLAPPING WANDB_AGENT_KILL_DELAY WANDB_AGENT_MAX_INITIAL_FAILURES "
        "WANDB_AGENT_REPORT_INTERVAL",
        "agents have fixed limits; see docs/sweeps.md",
    ),
    **ignored(
        "WANDB_ANONYMOUS WANDB_APP_URL WANDB_LAUNCH_QUEUE_ENTITY WANDB_LAUNCH_QUEUE_NAME "
        "WANDB_LAUNCH_TRACE_ID WANDB_MAGIC WANDB_ORGANIZATION",
        _SERVICE,
    ),
    **ignored(
        "WANDB_ARGS WANDB_CORE_DEBUG WANDB_CRASH_NOSYNC_TIME WANDB_DEBUG WANDB_ERROR_REPORTING "
        "WANDB_INITED WANDB_RUN_STORAGE_ID WANDB_SERVICE WANDB_X_EXECUTABLE",
        _INTERNAL,
    ),
}
"""Those in W&B's `env` module."""
