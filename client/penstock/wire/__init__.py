"""The wire format of `POST /v1/batches`, defined only here.

A body is one or more batches, each preceded by its length as a little-endian u32. A batch is a
msgpack map, or a zstd frame of one, so that the gateway can append its bytes unchanged:

    {v: 1, entity?, project, run, writer, writer_started, rank, seq, acked, sent_at,
     frames: [{keys: [str], steps: i64[n], times: i64[n], values: f64[k*n], ints?: u8[k]}],
     records: [{t: str, ...}], client?: {...}}

Columns are msgpack `bin`, little-endian. `values` is key-major: all n values of the first key,
then those of the second. Times are microseconds since 1970 UTC. `ints[i]` = 1 means that every value
of key i was an integer. NaN and ±Inf are data. A (key, step) pair should appear once per batch;
otherwise the later frame wins, then the later row.

This package imports neither numpy nor I/O: the gateway checks batches with it, and `import penstock`
must stay cheap. Every length, count and name is checked against `Limits` before memory is allocated
for it.
"""

from penstock.wire.batch import (
    VERSION,
    Batch,
    DecodedSize,
    Frame,
    Start,
    decode_batch,
    decode_batches,
    encode_batch,
)
from penstock.wire.fitting import RECORD_ROOM, RULES, Fitter, Room, decode_stored, fit_all, fit_key
from penstock.wire.framing import (
    batch_digest,
    claimed_bytes,
    decompress,
    is_compressed,
    join_batches,
    split_body,
)
from penstock.wire.limits import DEFAULT_LIMITS, MAX_STEP, SYSTEM_RANK, Limits, too_large
from penstock.wire.names import check_key, check_name
from penstock.wire.packing import Packed, packed
from penstock.wire.records import problem_of

__all__ = [
    "AGE_HEADER",
    "CONTENT_TYPE",
    "DEFAULT_LIMITS",
    "MAX_STEP",
    "RECORD_ROOM",
    "RULES",
    "SYSTEM_RANK",
    "VERSION",
    "Batch",
    "DecodedSize",
    "Fitter",
    "Frame",
    "Limits",
    "Packed",
    "Room",
    "Start",
    "batch_digest",
    "check_key",
    "check_name",
    "claimed_bytes",
    "decode_batch",
    "decode_batches",
    "decode_stored",
    "decompress",
    "encode_batch",
    "fit_all",
    "fit_key",
    "is_compressed",
    "join_batches",
    "packed",
    "problem_of",
    "split_body",
    "too_large",
]

AGE_HEADER = "Penstock-Age"
"""For how long the writer of a request's batches has run, in µs."""
CONTENT_TYPE = "application/msgpack"
