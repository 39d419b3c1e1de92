"""A process that has loaded the command, and is forked for each run of it: loading takes seconds.

Each line of its input is a run in JSON: "arguments", "folder", "environment" and "streams", the paths of
its output and its errors. Each line of its output is an exit code, negative for a signal.
"""

import gc
import json
import os
import signal
import sys

import matplotlib.pyplot  # noqa: F401

import gentle
import gentle.pictures
from gentle.cli import app, main  # noqa: F401

LOADED = [getattr(gentle, name) for name in gentle.__all__]  # here, and so not by each run
SECONDS = 120


def become(run):
    """Make this process the one of a run."""
    signal.alarm(SECONDS)
    os.chdir(run["folder"])
    os.environ.clear()
    os.environ.update(run["environment"])
    for descriptor, path in enumerate([os.devnull, *run["streams"]]):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC if descriptor else os.O_RDONLY
        os.dup2(os.open(path, flags), descriptor)
    sys.argv = ["-c", *run["arguments"]]


def runs():
    """One run at a time, until the input ends."""
    for line in iter(sys.stdin.readline, ""):
        child = os.fork()
        if not child:
            become(json.loads(line))
            main()
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    gc.freeze()
    runs()
