"""Copies from a device: they wait for what has not arrived, and give up in the end."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import pytest

from penstock.values import host_copies
from penstock.values.host_copies import HostCopy


def torch() -> Any:
    """Imported at first use: that takes seconds, and only one of the test processes needs it."""
    return importlib.import_module("torch")


def on_its_way(monkeypatch: pytest.MonkeyPatch, tensor: Any) -> HostCopy:
    """A copy of a tensor on the CPU that has not arrived: as from a CUDA device, but without pinned memory,
    and the device does nothing until `arrive`."""
    empty = torch().empty

    def unpinned(*args: Any, pin_memory: bool = False, **named: Any) -> Any:
        assert pin_memory
        return empty(*args, **named).fill_(0xFF)

    monkeypatch.setattr(torch(), "empty", unpinned)
    monkeypatch.setattr(host_copies, "_one", lambda torch, device: torch.zeros(1).long())
    copy = HostCopy(torch(), torch().empty(0, device="cpu", pin_memory=True))
    copy._begin(torch(), tensor)
    return copy


def arrive(copy: HostCopy) -> None:
    copy._flag.fill_(1)


@pytest.mark.parametrize("kind", ["float32", "float64", "bfloat16", "int64", "bool", "complex64"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5)])
def test_a_copy_is_read_once_it_has_arrived(
    monkeypatch: pytest.MonkeyPatch, kind: str, shape: tuple[int, ...]
) -> None:
    tensor = torch().ones(shape, dtype=getattr(torch(), kind))
    copy = on_its_way(monkeypatch, tensor)
    found: list[Any] = []
    reader = threading.Thread(target=lambda: found.append(copy.read()))
    reader.start()
    reader.join(0.05)
    assert reader.is_alive()
    assert not found
    tensor.zero_()  # after it was copied
    arrive(copy)
    reader.join(20)
    assert found[0].shape == shape
    assert found[0].dtype == tensor.dtype
    assert found[0].bool().all()
    assert copy._source is None


def test_a_device_that_never_gets_there(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = on_its_way(monkeypatch, torch().ones(3))
    monkeypatch.setattr(host_copies, "_MAX_WAIT_S", 0.01)
    with pytest.raises(TimeoutError, match="did not finish"):
        copy.read()


def test_a_tensor_on_the_cpu_is_there() -> None:
    tensor = torch().ones(3)
    assert HostCopy(torch(), tensor).read().data_ptr() == tensor.data_ptr()
