"""GPUs: what is asked of NVIDIA's library and AMD's driver, and a child that crashes or hangs in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.nvml_stub import build_nvml_stub
from support.spools import wait_until

from penstock.system.amd import AmdGpus
from penstock.system.gpus import GpuReader, has_gpus
from penstock.system.nvml import Nvml, NvmlError

Readers = Callable[..., GpuReader]


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_nvml_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def trouble(stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write `hang` or `crash` there."""
    path = tmp_path / "trouble"
    monkeypatch.setenv("PENSTOCK_NVML_LIBRARY", str(stub))
    monkeypatch.setenv("NVML_STUB_TROUBLE", str(path))
    return path


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def reader_of(said: list[str]) -> Iterator[Readers]:
    made: list[GpuReader] = []

    def make(hung_s: float = 60.0, pause_s: float = 60.0) -> GpuReader:
        made.append(GpuReader(said.append, hung_s=hung_s, pause_s=pause_s))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_what_the_library_says(stub: Path) -> None:
    nvml = Nvml(str(stub))
    nvml.measure(10.0)
    first, second = nvml.measure(12.0)
    assert first == {
        "gpu": 97.0, "memory": 40.0, "memoryAllocated": 25.0,
        "memoryAllocatedBytes": float(20 << 30), "memoryTotalBytes": float(80 << 30),
        "temp": 61.0, "memoryTemp": 70.0, "powerWatts": 350.0, "enforcedPowerLimitWatts": 700.0,
        "powerPercent": 50.0, "energyJoules": 5.0, "graphicsClock": 1000.0, "smClock": 1001.0,
        "memoryClock": 1002.0, "pcieTxBytes": 10_000.0, "pcieRxBytes": 11_000.0,
        "correctedMemoryErrors": 7.0, "uncorrectedMemoryErrors": 0.0, "throttleReasons": 4.0,
        "isSlowedDown": 0.0, "encoderUtilization": 5.0, "xidErrors": 0.0, "lastXid": 0.0,
        # Two devices share the stub's counter: 2 MiB more in two seconds.
        "nvlinkTxBytes": float(1 << 20), "nvlinkRxBytes": float(1 << 20),
        "pids": {"4242": 1 << 30, "1": 2 << 30, "2": 0},
    }  # fmt: skip
    assert (second["gpu"], second["isSlowedDown"]) == (96.0, 1.0)
    assert (second["xidErrors"], second["lastXid"], second["pids"]) == (3.0, 79.0, {})
    # Not supported by the stub, and absent from it.
    assert not {"fanSpeed", "decoderUtilization"} & first.keys()


def test_no_library() -> None:
    with pytest.raises(NvmlError, match="libmissing"):
        Nvml("libmissing.so.1")


def test_a_machine_without_gpus_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PENSTOCK_NVML_LIBRARY", raising=False)
    monkeypatch.setattr("penstock.system.gpus._SIGNS", ("/no/such/device",))
    assert not has_gpus()
    monkeypatch.setattr("penstock.system.gpus._SIGNS", ("/dev/null",))
    assert has_gpus()


def measured(reader: GpuReader) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def has_answer() -> bool:
        found[:] = reader.measure(1.0)
        return bool(found)

    wait_until(has_answer)
    return found


def test_a_child_that_crashes(trouble: Path, reader_of: Readers, said: list[str]) -> None:
    reader = reader_of(pause_s=0.2)
    assert [gpu["gpu"] for gpu in measured(reader)] == [97.0, 96.0]
    trouble.write_text("crash")
    wait_until(lambda: not reader.measure(1.0) and bool(said))
    for _ in range(3):
        assert reader.measure(0.1) == []
    assert said == ["the process that asks the GPU driver ended (signal 6)"]
    trouble.unlink()
    assert len(measured(reader)) == 2


def test_a_child_that_hangs(trouble: Path, reader_of: Readers, said: list[str]) -> None:
    reader = reader_of(hung_s=0.3, pause_s=0.2)
    assert len(measured(reader)) == 2
    child = reader._child
    assert child is not None
    trouble.write_text("hang")
    wait_until(lambda: not reader.measure(0.1) and bool(said))
    wait_until(lambda: child.poll() is not None)
    assert said == ["the GPU driver has not answered for 0 s"]
    trouble.unlink()
    assert len(measured(reader)) == 2
    assert len(said) == 1


def test_a_child_that_cannot_be_killed_is_not_joined_by_another(
    trouble: Path, reader_of: Readers, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """As one in an uninterruptible call."""
    reader = reader_of(hung_s=0.2, pause_s=0.0)
    assert measured(reader)
    child = reader._child
    assert child is not None
    with monkeypatch.context() as patched:
        patched.setattr(child, "kill", lambda: None)
        trouble.write_text("hang")
        wait_until(lambda: not reader.measure(0.1) and bool(said))
        trouble.unlink()
        for _ in range(5):
            assert reader.measure(0.1) == []
        assert reader._child is None
    child.kill()
    child.wait()
    assert measured(reader)


def test_a_library_that_does_not_load_is_reported_once(
    trouble: Path, reader_of: Readers, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_NVML_LIBRARY", str(trouble))
    reader = reader_of(pause_s=0.0)
    for _ in range(3):
        wait_until(lambda: not reader.measure(1.0) and reader._child is None)
    assert len(said) == 1
    assert f"{trouble} cannot be used" in said[0]


def test_the_driver_ends_with_its_reader(trouble: Path, reader_of: Readers) -> None:
    """The child reads until its input ends, also if the sampler is killed."""
    reader = reader_of()
    assert measured(reader)
    child = reader._child
    assert child is not None
    assert child.stdin is not None
    child.stdin.close()
    wait_until(lambda: child.poll() is not None)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_amds_cards(tmp_path: Path) -> None:
    drm = tmp_path / "class/drm"
    write(drm / "card0/device", {"vendor": "0x8086", "gpu_busy_percent": "1"})
    write(
        drm / "card10/device",
        {
            "vendor": "0x1002", "gpu_busy_percent": "93", "mem_busy_percent": "12",
            "mem_info_vram_used": str(16 << 30), "mem_info_vram_total": str(64 << 30),
            "hwmon/hwmon3/power1_average": "250000000", "hwmon/hwmon3/power1_cap": "500000000",
            "hwmon/hwmon3/temp1_input": "54000", "hwmon/hwmon3/freq1_input": "1700000000",
            "hwmon/hwmon3/pwm1": "51", "ras/umc_err_count": "ue: 2\nce: 31",
        },
    )  # fmt: skip
    write(drm / "card2/device", {"vendor": "0x1002", "gpu_busy_percent": "7"})
    write(drm / "card2-DP-1", {"status": "connected"})
    assert AmdGpus(tmp_path).measure() == [
        {"gpu": 7.0},
        {
            "gpu": 93.0, "memory": 12.0, "memoryAllocated": 25.0,
            "memoryAllocatedBytes": float(16 << 30), "memoryTotalBytes": float(64 << 30),
            "powerWatts": 250.0, "enforcedPowerLimitWatts": 500.0, "powerPercent": 50.0,
            "temp": 54.0, "smClock": 1700.0, "fanSpeed": 20.0,
            "uncorrectedMemoryErrors": 2.0, "correctedMemoryErrors": 31.0,
        },
    ]  # fmt: skip
    assert AmdGpus(tmp_path / "none").measure() == []
