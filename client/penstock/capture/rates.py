"""How much of what is printed is recorded: a bounded rate of lines and bytes, and a count of what was left out.

Pure: clocks are arguments. Everything is passed on to where it was printed to, in any case.
"""

from __future__ import annotations

__all__ = ["LineRate"]

LINES_PER_S, MOST_LINES = 1_000.0, 20_000.0
BYTES_PER_S, MOST_BYTES = float(1 << 20), float(16 << 20)
"""In the long run, and at once."""


class LineRate:
    """The rate of one stream."""

    def __init__(self) -> None:
        self.left_out_lines = 0
        """What was left out since it was last said; a part of a line counts as one."""
        self.opens_at = 0.0
        """While lines are left out: when to look again, on the monotonic clock."""
        self.is_in_line = False
        """Whether what was left out ended in the middle of a line."""
        self._left_out_bytes = 0
        self._lines, self._bytes = MOST_LINES, MOST_BYTES
        self._at: float | None = None

    def admits(self, data: bytes, now: float) -> bool:
        """Whether these bytes are recorded; counts them if not."""
        lines = data.count(b"\n")
        if self.is_open(now):
            # After a gap it goes on with a new line.
            if lines or not (self.left_out_lines and self.is_in_line):
                self._lines -= lines
                self._bytes -= len(data)
                return True
            self._left_out_bytes += len(data)
            return False
        self.left_out_lines += max(lines, not self.left_out_lines)
        self._left_out_bytes += len(data)
        self.is_in_line = not data.endswith(b"\n")
        self.opens_at = now + 1.0
        return False

    def is_open(self, now: float) -> bool:
        """Whether there is room: after a gap, for a second's worth."""
        passed_s = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._lines = min(MOST_LINES, self._lines + passed_s * LINES_PER_S)
        self._bytes = min(MOST_BYTES, self._bytes + passed_s * BYTES_PER_S)
        if self.left_out_lines:
            return self._lines >= LINES_PER_S / 2 and self._bytes >= BYTES_PER_S / 2
        return self._lines > 0 and self._bytes > 0

    def said(self) -> str:
        """What was left out, as a line of the output; counted from 0 again."""
        lines, size = self.left_out_lines, self._left_out_bytes
        self.left_out_lines = self._left_out_bytes = 0
        return (
            f"[penstock: {lines:,} lines ({size / 2**20:,.1f} MiB) were printed here and not recorded: more than"
            f" {LINES_PER_S:,.0f} lines or {BYTES_PER_S / 2**20:.0f} MiB per second]"
        )
