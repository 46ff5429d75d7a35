"""`python -m penstock.capture`: the process beside a training process, in two parts.

The first part only forks the second one and stands by. Both leave the process tree of the training script and ignore signals
that are meant for it: they end when nobody can print any more.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from penstock.capture.relay import Ends, stand_by

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP)


def main() -> None:
    described = json.loads(sys.argv[1])
    if os.fork():
        os._exit(0)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    streams = [Ends(name, read_end, original) for name, read_end, original in described["streams"]]
    for ends in streams:
        os.set_blocking(ends.read_end, False)
    control, answers = described["control"], described["answers"]
    link, link_of_reader = os.pipe()
    if streams and os.fork():
        for fd in (control, answers, link_of_reader):
            os.close(fd)
        stand_by(link, streams)
        os._exit(0)
    os.close(link)
    from penstock.capture.reader import OutputReader  # noqa: PLC0415  (the other part needs none of it)

    OutputReader(streams, control, answers, link_of_reader, described["pid"]).run()
    os._exit(0)


if __name__ == "__main__":
    main()
