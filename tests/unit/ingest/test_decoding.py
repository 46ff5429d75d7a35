"""What is decoded at once is bounded: over the bound 503, and all of it is given back."""

from __future__ import annotations

import asyncio

import pytest

from penstock.errors import Rejected, Transient
from penstock.wire import DEFAULT_LIMITS, Batch, DecodedSize, encode_batch
from penstock_ingest.decoding import Decoding

TEXT = {"t": "console", "line": 0, "stream": "stdout", "time": 0, "text": "=" * 2**20}


def batch(megabytes: int) -> bytes:
    return encode_batch(Batch("p", "r", "w", 1, records=[TEXT] * megabytes), compress=True)


async def test_too_much_at_once_is_answered_503_until_it_is_given_back() -> None:
    decoding = Decoding(DEFAULT_LIMITS, 70 * 2**20)
    with decoding.share() as first:
        await first.batches([batch(50)])
        assert 50 * 2**20 < decoding.held_bytes < 51 * 2**20
        with pytest.raises(Transient) as error, decoding.share() as second:
            await second.batches([batch(50)])
        assert (error.value.status, error.value.code) == (503, "overloaded")
        with decoding.share() as small:
            await small.batches([batch(1)])
    assert decoding.held_bytes == 0
    with decoding.share() as third:
        await third.batches([batch(50)])
    assert decoding.held_bytes == 0


async def test_what_is_refused_is_given_back_too() -> None:
    decoding = Decoding(DEFAULT_LIMITS, 2**30)
    for raws in ([batch(63)] * 2, [b"\x28\xb5\x2f\xfdnonsense"], [b"\xc1"]):
        with pytest.raises(Rejected), decoding.share() as share:
            await share.batches(raws)
    assert decoding.held_bytes == 0


async def test_elements_weigh_more_than_their_bytes() -> None:
    decoding = Decoding(DEFAULT_LIMITS, 2**30)
    record = {"t": "config", "update": {"a": [0] * 500_000}}
    with decoding.share() as share:
        await share.batches([encode_batch(Batch("p", "r", "w", 1, records=[record]))])
        assert decoding.held_bytes > 50_000_000
        share.holds()
        assert decoding.held_bytes == 0
        share.reserve(DecodedSize(10, 10))
    assert decoding.held_bytes == 0


async def test_the_largest_request_is_let_in_where_nothing_else_is_held() -> None:
    decoding = Decoding(DEFAULT_LIMITS, 1)
    with decoding.share() as share:
        assert len(await share.batches([batch(60)])) == 1


async def test_a_few_are_decoded_at_a_time_and_one_that_is_given_up_holds_nothing() -> None:
    decoding = Decoding(DEFAULT_LIMITS, 2**40)

    async def decode() -> None:
        with decoding.share() as share:
            await share.batches([batch(2)])

    tasks = [asyncio.create_task(decode()) for _ in range(20)]
    await asyncio.sleep(0)
    tasks[-1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert decoding.held_bytes == 0
