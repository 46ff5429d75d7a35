"""AMD's GPUs, from the files of the kernel's driver: no library is needed. Only for `gpu_child`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from penstock.system.files import names_in, number, read

__all__ = ["AmdGpus"]

_CARD = re.compile(r"card(\d+)")
_VENDOR = "0x1002"
_MICRO, _MILLI = 1e-6, 1e-3

# (key, file of the sensors' folder, factor)
_SENSORS = (
    ("temp", "temp1_input", _MILLI),
    ("memoryTemp", "temp3_input", _MILLI),
    ("powerWatts", "power1_average", _MICRO),
    ("powerWatts", "power1_input", _MICRO),
    ("enforcedPowerLimitWatts", "power1_cap", _MICRO),
    ("smClock", "freq1_input", _MICRO),
    ("memoryClock", "freq2_input", _MICRO),
)


class AmdGpus:
    """The cards that this process can see, numbered from 0 in the order of their names."""

    def __init__(self, sys: Path = Path("/sys")) -> None:
        folder = f"{sys}/class/drm"
        cards = sorted(
            int(found[1]) for name in names_in(folder) if (found := _CARD.fullmatch(name))
        )
        devices = [f"{folder}/card{number}/device" for number in cards]
        self._devices = [each for each in devices if read(f"{each}/vendor").strip() == _VENDOR]

    def measure(self) -> list[dict[str, Any]]:
        """One map for each card."""
        return [self._measure_one(device) for device in self._devices]

    def _measure_one(self, device: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, name in (("gpu", "gpu_busy_percent"), ("memory", "mem_busy_percent")):
            if (share := number(f"{device}/{name}")) is not None:
                found[key] = share
        used = number(f"{device}/mem_info_vram_used")
        total = number(f"{device}/mem_info_vram_total")
        if used is not None and total:
            found["memoryAllocated"] = 100.0 * used / total
            found["memoryAllocatedBytes"] = used
            found["memoryTotalBytes"] = total
        for sensors in names_in(f"{device}/hwmon")[:1]:
            self._add_sensors(found, f"{device}/hwmon/{sensors}")
        if found.get("enforcedPowerLimitWatts") and "powerWatts" in found:
            found["powerPercent"] = 100.0 * found["powerWatts"] / found["enforcedPowerLimitWatts"]
        for kind, key in (
            ("ue_count", "uncorrectedMemoryErrors"),
            ("ce_count", "correctedMemoryErrors"),
        ):
            counts = re.findall(r"\d+", "".join(
                line for line in read(f"{device}/ras/umc_err_count").splitlines()
                if line.startswith(kind.split("_")[0])
            ))  # fmt: skip
            if counts:
                found[key] = float(counts[0])
        return found

    def _add_sensors(self, found: dict[str, Any], folder: str) -> None:
        for key, name, factor in _SENSORS:
            value = number(f"{folder}/{name}")
            if value is not None and key not in found:
                found[key] = value * factor
        speed, most = number(f"{folder}/pwm1"), number(f"{folder}/pwm1_max") or 255.0
        if speed is not None:
            found["fanSpeed"] = 100.0 * speed / most
