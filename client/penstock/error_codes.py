"""The error codes of replies: the text on the wire, the HTTP status, and what to do about the error.

A new code is a member here and the line that raises it: the metrics' reasons and docs/errors.md follow.
The line below a member says when the error arises. Codes that no reply carries are in
`penstock.command_codes`.
"""

from __future__ import annotations

from penstock.errors import RETRY_HINT, Code

__all__ = ["DATA", "KEYS", "ErrorCode"]

DATA = "Batches and rows"
"""The subject of codes that answer sent data; they are the reasons in the metric of refusals."""
KEYS = "Keys and rights"
"""The subject of codes that refuse a caller; they are the reasons in the metric of refused callers."""
_REQUESTS = "Requests"
_RUNS = "Runs and files"
_ARTIFACTS = "Artifacts"
_SWEEPS = "Sweeps"
_WANDB = "The `wandb` client"
_PARTS = "Queue, stores and catalog"

_FORMAT = "See docs/wire.md for the format."
_SMALLER = "Send it in smaller batches."
_KEY = "Send `Authorization: Bearer penstock_…`; `penstock up` prints the key."
_LINK = "Ask for a new link."


class ErrorCode(Code):
    """Why a server refuses a request or cannot serve it."""

    BAD_BODY = "bad_body", DATA
    """The body broke off."""
    BODY_TIMEOUT = "body_timeout", DATA, 408, "Send it again."
    """The body did not arrive in time."""
    BODY_TOO_LARGE = "body_too_large", DATA, 413, _SMALLER
    """The body is larger than this route accepts."""
    UNKNOWN_CONTENT_TYPE = "unknown_content_type", DATA, 415
    """The body is neither batches nor JSON rows."""
    UNKNOWN_ENCODING = (
        "unknown_encoding", DATA, 415, "Send the body as it is; a batch may be a zstd frame of its own.",
    )  # fmt: skip
    """The request has a `Content-Encoding`."""
    UNKNOWN_VERSION = "unknown_version", DATA, 415
    """The server does not support this wire version; `supported` lists those that it does."""
    BAD_FRAMING = (
        "bad_framing", DATA, 400,
        "A body is a sequence of batches, each preceded by its length as a little-endian u32.",
    )  # fmt: skip
    """The body is not a sequence of batches, each preceded by its length."""
    BAD_COMPRESSION = "bad_compression", DATA, 400, _FORMAT
    """A batch is not a valid zstd frame."""
    BAD_MSGPACK = "bad_msgpack", DATA, 400, _FORMAT
    """A batch is not a valid msgpack map."""
    BAD_UTF8 = "bad_utf8", DATA, 400, _FORMAT
    """A string is not valid UTF-8."""
    BAD_FIELD = "bad_field", DATA, 400, _FORMAT
    """A field or parameter is missing, unknown or has a wrong value; the message names it."""
    BAD_NAME = "bad_name", DATA, 400, _FORMAT
    """A name of an entity, project, run, writer or artifact is not allowed."""
    BAD_KEY = "bad_key", DATA, 400, _FORMAT
    """A metric's name is not allowed."""
    BAD_FRAME = "bad_frame", DATA, 400, _FORMAT
    """A frame of a batch has no keys or rows, or is not a map."""
    BAD_COLUMN = "bad_column", DATA, 400, _FORMAT
    """A column of a frame is not binary or does not have the right length."""
    BAD_STEP = "bad_step", DATA, 400, _FORMAT
    """A step is not strictly between -2^53 and 2^53."""
    BAD_RECORD = "bad_record", DATA, 400, _FORMAT
    """A record of a batch has a wrong field."""
    BAD_JSON = "bad_json", DATA
    """The body is not the expected JSON."""
    BAD_ROWS = (
        "bad_rows", DATA, 400, 'Send {"project": "…", "run": "…", "rows": [{"step": 0, "loss": 0.9}]}.',
    )  # fmt: skip
    """JSON rows have a wrong form; the message names the field."""
    BAD_IDEMPOTENCY_KEY = "bad_idempotency_key", DATA
    """The `Idempotency-Key` is too long."""
    BATCH_TOO_LARGE = "batch_too_large", DATA, 413, _SMALLER
    """A batch has too many bytes, sent or decompressed."""
    WINDOW_TOO_LARGE = "window_too_large", DATA, 413, _SMALLER
    """Decompressing a batch would need too much memory."""
    TOO_LARGE = "too_large", DATA, 413
    """The request asks for too much, or contains too much."""
    TOO_MANY_BATCHES = "too_many_batches", DATA, 413, _SMALLER
    """A body has too many batches."""
    TOO_MANY_FRAMES = "too_many_frames", DATA, 413, _SMALLER
    """A batch has too many frames."""
    TOO_MANY_KEYS = "too_many_keys", DATA, 413, _SMALLER
    """A frame has too many keys."""
    TOO_MANY_POINTS = "too_many_points", DATA, 413, _SMALLER
    """A batch has too many points."""
    TOO_MANY_RECORDS = "too_many_records", DATA, 413, _SMALLER
    """A batch has too many records."""
    TOO_MANY_ELEMENTS = "too_many_elements", DATA, 413, _SMALLER
    """The maps and lists of a body have too many entries."""
    TOO_MANY_RUNS = "too_many_runs", DATA, 422
    """The entity or project has reached its limit of runs."""
    TOO_MANY_WRITERS = "too_many_writers", DATA, 422
    """The entity or run has reached its limit of writers."""
    CONFLICT = "conflict", DATA, 409, "A number is used once; a repeat must be the same bytes."
    """The number already belongs to another batch, which stays."""
    IDEMPOTENCY_CONFLICT = "idempotency_conflict", DATA, 409, "Use a new key for each new request."
    """The `Idempotency-Key` was used for another request."""
    DELETED = "deleted", DATA, 410
    """The run or artifact was deleted."""
    QUOTA = "quota", DATA, 429, "Send the same bytes again after Retry-After, or log less often."
    """The project sends more points per second than its quota."""
    OVERLOADED = "overloaded", DATA, 503, RETRY_HINT
    """The queue is full, or the server is handling as many bytes as it may."""
    PARKED = (
        "parked", DATA, 503,
        "Keep the batch and send it again later. On the server, `penstock dead list` says why.",
    )  # fmt: skip
    """Batches of this writer keep failing, and no more of them are kept."""
    QUEUE_UNSAFE = "queue_unsafe", DATA, 503, RETRY_HINT
    """Redis could lose what it accepts."""

    NO_KEY = "no_key", KEYS, 401, _KEY
    """There is no API key or login."""
    MALFORMED_KEY = "malformed_key", KEYS, 401, _KEY
    """The API key is incomplete or mistyped."""
    UNKNOWN_KEY = "unknown_key", KEYS, 401, _KEY
    """The server does not know the API key."""
    REVOKED_KEY = "revoked_key", KEYS, 401, _KEY
    """The API key was revoked."""
    EXPIRED_KEY = "expired_key", KEYS, 401, _KEY
    """The API key has expired."""
    FORBIDDEN = "forbidden", KEYS, 403
    """The API key does not have the right to do this."""
    CROSS_SITE = (
        "cross_site", KEYS, 403,
        "Send an API key, or open the page at the address that the server knows. Behind a"
        " proxy, pass Host on, or set PENSTOCK_TRUSTED_PROXIES: see docs/operations.md.",
    )  # fmt: skip
    """A page of another site sent the request."""

    NOT_FOUND = "not_found", _REQUESTS, 404
    """It does not exist, or the caller may not see it."""
    NOT_JSON = "not_json", _REQUESTS, 415, "Send the header Content-Type: application/json."
    """The request comes from a page and its body is not declared as JSON."""
    BAD_RANGE = "bad_range", _REQUESTS, 416
    """The file has no bytes in the requested range."""
    BAD_SIGNATURE = "bad_signature", _REQUESTS, 403, "Ask for a new link, and use it unchanged."
    """A signed link was changed."""
    LINK_EXPIRED = "link_expired", _REQUESTS, 403, _LINK
    """A signed link, or the API key for which it was created, has expired or was revoked."""
    TOO_MANY_ATTEMPTS = "too_many_attempts", _REQUESTS, 429
    """Too many logins failed."""
    TOO_MANY_CONNECTIONS = (
        "too_many_connections", _REQUESTS, 503, "Nothing was stored; retry later.",
    )  # fmt: skip
    """The server has reached its limit of connections."""
    NO_PAGE = "no_page", _REQUESTS, 404, "`make setup` builds it; wheels include it."
    """This installation does not include the page."""
    NO_SERVICE_WORKER = "no_service_worker", _REQUESTS, 403
    """A browser asked for a service worker."""
    UNAVAILABLE = "unavailable", _REQUESTS, 503, RETRY_HINT
    """The server, or a part that it needs, cannot answer now."""
    INTERNAL = (
        "internal", _REQUESTS, 500, "Its log has the details. The same request may succeed later.",
    )  # fmt: skip
    """The server failed while answering."""

    BAD_FILTER = "bad_filter", _RUNS
    """A filter of runs or artifacts cannot be understood."""
    FILTER_TOO_SLOW = "filter_too_slow", _RUNS, 400, "Use fewer conditions, or simpler patterns."
    """Finding the runs took too long."""
    CHART_TOO_LARGE = (
        "chart_too_large", _RUNS, 400, "Ask for fewer runs or keys, or set `buckets` lower.",
    )  # fmt: skip
    """A chart would have too many buckets."""
    TOO_MANY_COLUMNS = "too_many_columns", _RUNS, 400, "Use layout=long, or select fewer keys."
    """An exported table would have too many columns."""
    EXPORT_TOO_LARGE = "export_too_large", _RUNS, 413
    """An export does not fit into one file."""
    MOVED = "moved", _RUNS, 410
    """The run was moved to another project; the message says where it is now."""
    MOVING = "moving", _RUNS, 409
    """The run is being moved to another project already."""
    NOT_MOVED = "not_moved", _RUNS, 409
    """The run could not be moved."""
    STILL_RUNNING = "still_running", _RUNS, 409
    """The run must have ended first."""
    EXISTS = "exists", _RUNS, 409
    """The project already has a run with this id."""
    BAD_FILE_NAME = "bad_file_name", _RUNS
    """A file's name is not allowed."""
    FILE_TOO_LARGE = "file_too_large", _RUNS, 413
    """A file is larger than the server accepts."""
    BLOB_TOO_LARGE = "blob_too_large", _RUNS, 413
    """A media value is larger than the server accepts."""
    BAD_DIGEST = "bad_digest", _RUNS
    """A digest is malformed or of an unsupported kind."""
    DIGEST_MISMATCH = "digest_mismatch", _RUNS
    """The content does not have the declared digest."""

    ARTIFACT_INCOMPLETE = "artifact_incomplete", _ARTIFACTS, 409, "Log it again."
    """Files of the artifact were not uploaded, or differ from its manifest."""
    BAD_MANIFEST = "bad_manifest", _ARTIFACTS
    """The artifact's manifest is malformed or of an unsupported kind."""
    NO_MANIFEST = "no_manifest", _ARTIFACTS, 409
    """The artifact's manifest was not uploaded, or is lost."""
    TOO_MANY_FILES = (
        "too_many_files", _ARTIFACTS, 413, "Log them as several artifacts, or in an archive.",
    )  # fmt: skip
    """The artifact has too many files."""
    BAD_REGION = (
        "bad_region", _ARTIFACTS, 400,
        "Omit storage_region: Penstock keeps all artifacts in one place.",
    )  # fmt: skip
    """An artifact was logged with a storage region."""
    COMMITTED = "committed", _ARTIFACTS, 409
    """A committed artifact cannot be changed."""
    HAS_ALIASES = "has_aliases", _ARTIFACTS, 409, "Ask for its deletion with delete_aliases=True."
    """An artifact with aliases is not deleted without them."""
    BAD_ALIAS = "bad_alias", _ARTIFACTS
    """An alias is not allowed."""
    NAME_TAKEN = "name_taken", _ARTIFACTS, 409
    """There is already an artifact collection with this name."""
    KIND_CONFLICT = "kind_conflict", _ARTIFACTS, 409
    """The name belongs to a collection of another kind."""
    TYPE_CONFLICT = "type_conflict", _ARTIFACTS, 409
    """The artifact already exists with another type."""
    OTHER_ENTITY = "other_entity", _ARTIFACTS
    """An artifact can be linked only within its entity."""
    NOT_A_LINK = "not_a_link", _ARTIFACTS
    """An artifact cannot be unlinked from the collection to which it was logged."""
    IS_REFERENCE = "is_reference", _ARTIFACTS, 404
    """The file's content is stored elsewhere; the message says where."""
    BAD_ORDER = "bad_order", _ARTIFACTS, 400, "createdAt is supported."
    """Artifacts cannot be sorted by this."""

    BAD_SWEEP = "bad_sweep", _SWEEPS
    """A sweep's configuration is wrong; the message says where."""
    SWEEP_OVER = "sweep_over", _SWEEPS, 409, "Make a new sweep of the same configuration."
    """A sweep that has ended cannot be resumed."""

    UNKNOWN_OPERATION = "unknown_operation", _WANDB, 400, "docs/wandb.md lists what works."
    """Penstock does not know this GraphQL operation."""
    BAD_GRAPHQL = "bad_graphql", _WANDB
    """The GraphQL document or its arguments are malformed or too large."""
    BAD_ID = "bad_id", _WANDB
    """An opaque id is malformed or of another kind."""
    BAD_STATE = "bad_state", _WANDB
    """A run in this state cannot become what was asked."""
    BAD_SPEC = "bad_spec", _WANDB
    """A request for sampled history is malformed."""
    BAD_REWIND = "bad_rewind", _WANDB
    """A run can be rewound only to a step."""
    BAD_CHART = "bad_chart", _WANDB
    """A custom chart has no name, or too large a specification."""
    BAD_ALERT = "bad_alert", _WANDB
    """An alert's level is unknown."""
    NOT_COMMITTED = "not_committed", _WANDB, 503, RETRY_HINT
    """Lines were queued but are not stored yet, or an artifact is not committed."""
    QUEUE_REPLACED = "queue_replaced", _WANDB, 503, RETRY_HINT
    """The queue lost lines that were not stored yet."""

    QUEUE_TIMEOUT = "queue_timeout", _PARTS, 503, RETRY_HINT
    """Redis did not answer in time."""
    QUEUE_OOM = "queue_oom", _PARTS, 503, RETRY_HINT
    """Redis has used up its memory."""
    QUEUE_MISCONF = "queue_misconf", _PARTS, 503, RETRY_HINT
    """Redis cannot save its data."""
    QUEUE_READONLY = "queue_readonly", _PARTS, 503, RETRY_HINT
    """Redis is a read-only replica."""
    QUEUE_LOADING = "queue_loading", _PARTS, 503, RETRY_HINT
    """Redis is still loading its data."""
    QUEUE_CONNECTION = "queue_connection", _PARTS, 503, RETRY_HINT
    """Redis cannot be reached."""
    QUEUE_OTHER = "queue_other", _PARTS, 503, RETRY_HINT
    """Redis refused the data for another reason."""
    STORE_UNREACHABLE = "store_unreachable", _PARTS, 503, RETRY_HINT
    """The point store cannot be reached."""
    STORE_REPLACED = "store_replaced", _PARTS, 503, RETRY_HINT
    """The point store was replaced while data was being stored."""
    STORE_BUSY = "store_busy", _PARTS, 503, RETRY_HINT
    """The point store is running as many statements as it may."""
    STORE_TIMEOUT = "store_timeout", _PARTS, 503, RETRY_HINT
    """A statement of the point store took too long."""
    STORE_CANCELLED = "store_cancelled", _PARTS, 503, RETRY_HINT
    """A statement of the point store was cancelled."""
    STORE_NETWORK = "store_network", _PARTS, 503, RETRY_HINT
    """The nodes of the point store cannot reach each other."""
    STORE_SHUTTING_DOWN = "store_shutting_down", _PARTS, 503, RETRY_HINT
    """The point store is stopping."""
    STORE_OUT_OF_MEMORY = "store_out_of_memory", _PARTS, 503, RETRY_HINT
    """The point store has used up its memory."""
    STORE_OUT_OF_SPACE = "store_out_of_space", _PARTS, 503, RETRY_HINT
    """The point store's disk is full."""
    STORE_READ_ONLY = "store_read_only", _PARTS, 503, RETRY_HINT
    """The point store cannot write to its disk or table."""
    STORE_TOO_MANY_PARTS = "store_too_many_parts", _PARTS, 503, RETRY_HINT
    """The point store cannot merge its parts as fast as they arrive."""
    STORE_DISK_FAILED = "store_disk_failed", _PARTS, 503, RETRY_HINT
    """The point store's disk reported an error."""
    STORE_DAMAGED = "store_damaged", _PARTS, 503, RETRY_HINT
    """A part of the point store is damaged."""
    CATALOG_UNREACHABLE = "catalog_unreachable", _PARTS, 503, RETRY_HINT
    """The catalog's database cannot be reached or cannot serve now."""
    CATALOG_DAMAGED = "catalog_damaged", _PARTS, 503, RETRY_HINT
    """The catalog's database is damaged."""
    BLOBS_UNREACHABLE = "blobs_unreachable", _PARTS, 503, RETRY_HINT
    """The blob store cannot be reached."""
    RUN_DELETED = "run_deleted", _PARTS, 503, RETRY_HINT
    """A run was deleted while its data was being stored."""
    COPY_INCOMPLETE = "copy_incomplete", _PARTS, 503, RETRY_HINT
    """The copy of a run that is being moved is not complete yet."""
