"""NVIDIA's management library, called through ctypes: what it says of each GPU.

Only for `gpu_child`: a call may hang in the driver or end the process. What a GPU does not support is left
out, and not asked again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import byref, c_int, c_longlong, c_uint, c_ulong, c_ulonglong, c_void_p
from typing import Any

__all__ = ["LIBRARY", "Nvml", "NvmlError"]

LIBRARY = "libnvidia-ml.so.1"
_FUNCTION_NOT_FOUND, _NOT_SUPPORTED = 13, 3
_MAX_PROCESSES = 256
_UNKNOWN = 2**64 - 1
"""The memory of a process where the driver does not say."""
_MAX_EVENTS = 64
_XID_EVENT = 0x8
_ALL_LINKS = 0xFFFFFFFF
_NVLINK_TX, _NVLINK_RX, _MEMORY_TEMPERATURE = 138, 139, 82
"""Fields of nvmlDeviceGetFieldValues."""
_SLOWED_DOWN = 0x8 | 0x20 | 0x40 | 0x80
"""Reasons for low clocks that are faults: heat, power brake. Idle, limits that were set and power caps are not."""


class NvmlError(Exception):
    """The library is missing, or does not start."""


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", c_uint), ("memory", c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong))


class _ProcessInfo(ctypes.Structure):
    _fields_ = (
        ("pid", c_uint), ("used", c_ulonglong), ("instance", c_uint), ("compute", c_uint)
    )  # fmt: skip


class _EventData(ctypes.Structure):
    _fields_ = (
        ("device", c_void_p), ("kind", c_ulonglong), ("data", c_ulonglong), ("instance", c_uint),
        ("compute", c_uint),
    )  # fmt: skip


class _Value(ctypes.Union):
    _fields_ = (
        ("d", ctypes.c_double), ("ui", c_uint), ("ul", c_ulong), ("ull", c_ulonglong),
        ("sll", c_longlong),
    )  # fmt: skip


class _FieldValue(ctypes.Structure):
    _fields_ = (
        ("field", c_uint), ("scope", c_uint), ("timestamp", c_longlong), ("latency", c_longlong),
        ("kind", c_int), ("result", c_int), ("value", _Value),
    )  # fmt: skip


_MEMBERS = ("d", "ui", "ul", "ull", "sll")

# (key, function, what goes before the result, type of the result, factor)
_NUMBERS: tuple[tuple[str, str, tuple[int, ...], Any, float], ...] = (
    ("temp", "nvmlDeviceGetTemperature", (0,), c_uint, 1.0),
    ("powerWatts", "nvmlDeviceGetPowerUsage", (), c_uint, 1e-3),
    ("enforcedPowerLimitWatts", "nvmlDeviceGetEnforcedPowerLimit", (), c_uint, 1e-3),
    ("energyJoules", "nvmlDeviceGetTotalEnergyConsumption", (), c_ulonglong, 1e-3),
    ("graphicsClock", "nvmlDeviceGetClockInfo", (0,), c_uint, 1.0),
    ("smClock", "nvmlDeviceGetClockInfo", (1,), c_uint, 1.0),
    ("memoryClock", "nvmlDeviceGetClockInfo", (2,), c_uint, 1.0),
    ("fanSpeed", "nvmlDeviceGetFanSpeed", (), c_uint, 1.0),
    # In KB/s; each takes the driver 20 ms, in which it sleeps.
    ("pcieTxBytes", "nvmlDeviceGetPcieThroughput", (0,), c_uint, 1e3),
    ("pcieRxBytes", "nvmlDeviceGetPcieThroughput", (1,), c_uint, 1e3),
    # Volatile: since the driver was loaded.
    ("correctedMemoryErrors", "nvmlDeviceGetTotalEccErrors", (0, 0), c_ulonglong, 1.0),
    ("uncorrectedMemoryErrors", "nvmlDeviceGetTotalEccErrors", (1, 0), c_ulonglong, 1.0),
    ("throttleReasons", "nvmlDeviceGetCurrentClocksThrottleReasons", (), c_ulonglong, 1.0),
)
_TWO_RESULTS = (
    ("encoderUtilization", "nvmlDeviceGetEncoderUtilization"),
    ("decoderUtilization", "nvmlDeviceGetDecoderUtilization"),
)


class Nvml:
    """The GPUs that this process can see."""

    def __init__(self, library: str = LIBRARY) -> None:
        """Raises NvmlError."""
        try:
            self._library = ctypes.CDLL(library)
            code = self._library.nvmlInit_v2()
        except (OSError, AttributeError) as error:
            raise NvmlError(f"{library} cannot be used: {error}") from None
        if code:
            raise NvmlError(f"{library} does not start: error {code}")
        self._unsupported: set[tuple[int, str]] = set()
        self._devices = list(self._found_devices())
        self._links: dict[tuple[int, str], tuple[float, float]] = {}
        self._xids: dict[int, list[float]] = {}
        self._events = self._registered_events()

    def measure(self, now: float) -> list[dict[str, Any]]:
        """One map for each GPU, in the order of their index (`now` is monotonic). `pids`: the GPU memory of each
        process on it, in bytes."""
        self._take_events()
        return [self._measure_one(index, now) for index in range(len(self._devices))]

    def _measure_one(self, index: int, now: float) -> dict[str, Any]:
        found: dict[str, Any] = {}
        utilization = _Utilization()
        if self._call(index, "nvmlDeviceGetUtilizationRates", byref(utilization)):
            found["gpu"], found["memory"] = float(utilization.gpu), float(utilization.memory)
        memory = _Memory()
        if self._call(index, "nvmlDeviceGetMemoryInfo", byref(memory)) and memory.total:
            found["memoryAllocated"] = 100.0 * memory.used / memory.total
            found["memoryAllocatedBytes"] = float(memory.used)
            found["memoryTotalBytes"] = float(memory.total)
        for key, function, before, kind, factor in _NUMBERS:
            result = kind()
            if self._call(index, function, *before, byref(result), key=key):
                found[key] = result.value * factor
        for key, function in _TWO_RESULTS:
            share, period = c_uint(), c_uint()
            if self._call(index, function, byref(share), byref(period)):
                found[key] = float(share.value)
        if found.get("enforcedPowerLimitWatts") and "powerWatts" in found:
            found["powerPercent"] = 100.0 * found["powerWatts"] / found["enforcedPowerLimitWatts"]
        if "throttleReasons" in found:
            found["isSlowedDown"] = float(bool(int(found["throttleReasons"]) & _SLOWED_DOWN))
        self._add_fields(index, found, now)
        if index in self._xids:
            found["xidErrors"], found["lastXid"] = self._xids[index]
        found["pids"] = self._processes(index)
        return found

    def _found_devices(self) -> Iterator[c_void_p]:
        count = c_uint()
        if self._library.nvmlDeviceGetCount_v2(byref(count)):
            return
        for index in range(count.value):
            device = c_void_p()
            self._library.nvmlDeviceGetHandleByIndex_v2(index, byref(device))
            yield device  # null for one that has failed: its calls fail, and others keep their index

    def _call(self, index: int, function: str, *arguments: Any, key: str = "") -> bool:
        """Call a function of a device; returns whether it succeeded."""
        name = (index, key or function)
        if name in self._unsupported:
            return False
        try:
            code = getattr(self._library, function)(self._devices[index], *arguments)
        except AttributeError:  # a library older than the function
            code = _FUNCTION_NOT_FOUND
        if code in (_NOT_SUPPORTED, _FUNCTION_NOT_FOUND):
            self._unsupported.add(name)
        return not code

    def _add_fields(self, index: int, found: dict[str, Any], now: float) -> None:
        fields = (_FieldValue * 3)()
        for field, number in zip(
            fields, (_NVLINK_TX, _NVLINK_RX, _MEMORY_TEMPERATURE), strict=True
        ):
            field.field = number
            field.scope = 0 if number == _MEMORY_TEMPERATURE else _ALL_LINKS
        if not self._call(index, "nvmlDeviceGetFieldValues", len(fields), fields):
            return
        values = [
            None if field.result or not 0 <= field.kind < len(_MEMBERS)
            else float(getattr(field.value, _MEMBERS[field.kind]))
            for field in fields
        ]  # fmt: skip
        if values[2]:
            found["memoryTemp"] = values[2]
        for key, kib in zip(("nvlinkTxBytes", "nvlinkRxBytes"), values, strict=False):
            if kib is None:
                continue
            before, at = self._links.get((index, key), (kib, now))
            self._links[index, key] = (kib, now)
            if now > at and kib >= before:
                found[key] = 1024.0 * (kib - before) / (now - at)

    def _processes(self, index: int) -> dict[str, int]:
        for version in ("_v3", "_v2"):
            count = c_uint(_MAX_PROCESSES)
            processes = (_ProcessInfo * _MAX_PROCESSES)()
            function = f"nvmlDeviceGetComputeRunningProcesses{version}"
            if self._call(index, function, byref(count), processes):
                return {
                    str(each.pid): 0 if each.used == _UNKNOWN else int(each.used)
                    for each in processes[: count.value]
                }
        return {}

    def _registered_events(self) -> c_void_p | None:
        """An event set that hears of Xid errors, the driver's reports of faults; None if none can be heard."""
        events = c_void_p()
        try:
            if self._library.nvmlEventSetCreate(byref(events)):
                return None
            for index, device in enumerate(self._devices):
                mask = c_ulonglong(_XID_EVENT)
                if not self._library.nvmlDeviceRegisterEvents(device, mask, events):
                    self._xids[index] = [0.0, 0.0]
        except AttributeError:
            return None
        return events if self._xids else None

    def _take_events(self) -> None:
        """Count what was reported since the last time, without waiting."""
        if self._events is None:
            return
        for _ in range(_MAX_EVENTS):
            event = _EventData()
            if self._library.nvmlEventSetWait_v2(self._events, byref(event), c_uint(0)):
                return
            for index, device in enumerate(self._devices):
                if device.value == event.device and index in self._xids:
                    self._xids[index] = [self._xids[index][0] + 1, float(event.data)]
