"""What a network costs a fit on a Dask cluster, and what it does to one when it fails.

    sudo python bench/network.py [--quick] [--only CASE]

A scheduler and two workers of one thread, each worker in a network namespace of its own, on a link that is
as fast as asked for, counts its bytes, and can be cut. Needs Linux, root and iproute2's `ip` and `tc`.

`model` measures the passes of fits over links of some speeds, and holds them against

    seconds = alone / workers + (2 blocks - 1) handling + moves * 8 (columns + 2)^2 / link
    moves   = blocks / workers + log2(workers)

where `alone` is the pass on one worker, `handling` what Dask takes for a task, measured on parts without
work that are handed out as to 1,000 workers, and `moves` how many sums go one way over a link: at most each
block's of its worker, and one on each level of the tree where no worker has both. It then says
what follows for a pass over 1e12 rows on 1,000 workers, whose links carry 10 Gbit/s.

`faults` fits on while a worker is cut off and comes back, is slow, or is killed, 50 times at random. Every
fit must end with the right answer, or refused in a sentence. Times are of one fit each; those without a
fault are medians of five.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import log2
from operator import add
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any

import distributed
import numpy as np
import psutil
from reading import COLUMNS, ROWS, written
from speed import MiB
from timing import medians

import gentle
from gentle.design import Rows, learn_design
from gentle.engines import Dask, Engine, Processes
from gentle.engines.dask import CLIENTS
from gentle.engines.engine import BLOCKS_PER_WORKER, blocks
from gentle.engines.pooled import WORKER
from gentle.passes import fold
from gentle.sources import open_source
from gentle.spreading import placed
from gentle.statistics import Moments

BRIDGE, ADDRESS = "gentle", "10.213.7.{}"
PORT = 8799
KILLS = 50
LONG = 300  # seconds, after which a fit has hung
NEAR = 2e-3  # standard errors from the answer without faults: twice the tolerance of a descent
PARTS = 8  # of a pass of `model`: as many blocks
WIDTHS = {21: 2_000_000, 201: 200_000, 1_001: 20_000}  # columns: rows
LINKS = (1_000, 100)  # Mbit/s


def model(folder: Path, share: int) -> None:
    """One pass over links of some speeds, beside what the model says."""
    handling, many = handled(4_096), n_blocks(4_096, 1_000)
    print(f"handling: {1e3 * handling:.2f} ms a task, of {2 * many - 1:,} among 1,000 workers\n")
    print(
        f"{'columns':>7}{'Mbit/s':>8}{'alone':>9}{'model':>9}{'measured':>10}{'carried':>12}{'model':>11}"
    )
    alone: dict[int, float] = {}
    with network() as net:
        for columns, rows in WIDTHS.items():
            path = written(folder / f"wide{columns}-{share}.parquet", rows // share, columns)
            alone[columns] = reading(path)
            for mbit in LINKS:
                for link in net.links:
                    link.limit(mbit)
                one_pass = partial(passed, path, net.engine)
                one_pass()
                before = net.links[0].carried
                one_pass()
                carried = (net.links[0].carried - before) / MiB
                seconds = medians({"pass": one_pass})["pass"]
                cost = Cost(alone[columns], columns, 2, n_blocks(PARTS, 2), mbit, handling)
                times = f"{cost.alone:7.2f} s{cost.seconds:7.2f} s{seconds:8.2f} s"
                print(f"{columns:7}{mbit:8,}{times}{carried:8.2f} MiB{cost.carried / MiB:7.2f} MiB")
    print(
        f"\n{'columns':>7}{'Mbit/s':>8}{'reading':>10}{'handling':>10}{'moving':>10}{'together':>11}"
    )
    for columns, rows in WIDTHS.items():
        seconds = alone[columns] * 1e12 / (rows // share)
        cost = Cost(seconds, columns, 1_000, many, 10_000, handling)
        each = f"{cost.read:8,.0f} s{cost.handled:8.1f} s{cost.moved:8.1f} s{cost.seconds:9,.0f} s"
        print(f"{columns:7}{10_000:8,}{each}")


@dataclass(frozen=True)
class Cost:
    """What a pass costs, in seconds."""

    alone: float  # on one worker
    columns: int
    workers: int
    blocks: int
    mbit: float  # of each link, each way
    handling: float  # of a task

    @property
    def read(self) -> float:
        return self.alone / self.workers

    @property
    def handled(self) -> float:
        return (2 * self.blocks - 1) * self.handling

    @property
    def moves(self) -> float:
        """The sums that go one way over one link, one after the other."""
        return self.blocks / self.workers + log2(self.workers)

    @property
    def carried(self) -> float:
        """Bytes on one link, both ways."""
        return 2 * self.moves * self._sum

    @property
    def moved(self) -> float:
        return self.moves * self._sum * 8 / (1e6 * self.mbit)

    @property
    def seconds(self) -> float:
        return self.read + self.handled + self.moved

    @property
    def _sum(self) -> float:
        """The bytes of a sum."""
        return 8 * (self.columns + 2) ** 2


def reading(path: Path) -> float:
    """Seconds of a pass on one worker of one thread."""
    alone = Processes(1)
    return medians({"pass": partial(passed, path, alone)})["pass"]


def passed(path: Path, engine: Engine) -> Moments:
    """One pass over the rows of a file."""
    source = open_source(path)
    with placed(source, engine, PARTS) as place:
        return fold(Moments(), Rows(source, learn_design(source, targets=("y",))).at(place))


def handled(parts: int) -> float:
    """Seconds that a task takes where there is nothing to do, among workers that say they are 1,000."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=500, dashboard_address=None, protocol="tcp://"
    ) as cluster:
        engine = Dask(cluster.scheduler_address)
        taken = medians({"pass": lambda: engine.reduce(int, range(parts), add)})["pass"]
        CLIENTS.pop(cluster.scheduler_address).close()
    return taken / (2 * n_blocks(parts, 1_000) - 1)


def n_blocks(parts: int, workers: int) -> int:
    """In how many blocks parts are handed to so many workers."""
    return len(blocks(range(parts), BLOCKS_PER_WORKER * workers))


def faults(folder: Path, share: int) -> None:
    """Fits of 5e6 x 21 of Parquet on two workers, with one that is cut off, slow or killed."""
    path = written(folder / f"rows{share}.parquet", ROWS // share, COLUMNS)
    fits = {"exact": {"errors": "HC1"}, "descent": {"solver": "sgd"}}
    here = {kind: fitted(path, "here", asked) for kind, asked in fits.items()}
    with network() as net:
        ways = {kind: partial(fitted, path, net.engine, asked) for kind, asked in fits.items()}
        calm = medians(ways)

        def faulty(
            what: str, begin: Callable[[], object], end: Callable[[], object], after: float
        ) -> None:
            for kind, way in ways.items():
                started = Timer(calm[kind] / 3, begin)
                ended = Timer(calm[kind] / 3 + after, end)
                for timer in (started, ended):
                    timer.start()
                told, seconds = outcome(way, here[kind])
                for timer in (started, ended):
                    timer.join()
                net.staffed()
                print(f"{what:42}{kind:10}{calm[kind]:8.2f} s{seconds:8.2f} s   {told}")

        link = net.links[0]
        print(f"{'':52}{'calm':>10}{'then':>10}")
        faulty("cut off for 3 s", link.cut, link.mend, 3)
        faulty("cut off for 60 s", link.cut, link.mend, 60)
        for share, told in ((0.5, "half"), (0.9, "nine tenths")):
            slow = Slow(net, share)
            faulty(f"stopped {told} of the time for 20 s", slow.start, slow.end, 20)
        killed(net, ways, here, 5 if share > 1 else KILLS)


def fitted(path: Path, engine: Any, asked: dict[str, Any]) -> gentle.Fit:
    return gentle.fit(path, target="y", engine=engine, parts=16, **asked)


def outcome(way: Callable[[], gentle.Fit], true: gentle.Fit) -> tuple[str, float]:
    """(what became of a fit, its seconds); the bench ends where one is wrong or hangs."""
    came: list[Any] = []
    began = time.perf_counter()

    def run() -> None:
        try:
            came.append(way())
        except gentle.GentleError as refused:
            came.append(refused)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(LONG)
    seconds = time.perf_counter() - began
    if not came:
        sys.exit(f"a fit hung: nothing after {LONG} seconds, or another error")
    (found,) = came
    if isinstance(found, gentle.GentleError):
        return f"refused: {found}", seconds
    apart = np.abs(np.array([*found.coef.values()]) - np.array([*true.coef.values()]))
    if (apart > NEAR * np.array([*true.std_errors.values()])).any():
        sys.exit("a fit is wrong")
    return "right", seconds


class Slow:
    """A worker that is stopped for a share of each tenth of a second."""

    def __init__(self, net: Network, share: float) -> None:
        self._net, self._share, self._over = net, share, Event()

    def start(self) -> None:
        self._over.clear()
        Thread(target=self._hinder, args=(self._net.workers()[0],), daemon=True).start()

    def end(self) -> None:
        self._over.set()

    def _hinder(self, worker: psutil.Process) -> None:
        while not self._over.is_set():
            worker.suspend()
            time.sleep(0.1 * self._share)
            worker.resume()
            time.sleep(0.1 * (1 - self._share))


def killed(
    net: Network, ways: dict[str, Callable[[], gentle.Fit]], here: dict[str, gentle.Fit], kills: int
) -> None:
    """Fits go on while workers are killed."""
    over, ends = Event(), Counter[str]()

    def kill() -> None:
        chance = random.Random(0)
        left = kills
        while left:
            time.sleep(chance.uniform(0.5, 5))
            with suppress(psutil.NoSuchProcess):
                if workers := net.workers():
                    chance.choice(workers).send_signal(signal.SIGKILL)
                    left -= 1
        over.set()

    Thread(target=kill, daemon=True).start()
    longest = 0.0
    while not over.is_set():
        net.staffed()
        for kind, way in ways.items():
            told, seconds = outcome(way, here[kind])
            ends[told] += 1
            longest = max(longest, seconds)
    print(f"\n{kills} kills among {ends.total()} fits, the longest of which took {longest:.1f} s:")
    for told, times in ends.most_common():
        print(f"{times:6} {told}")


CASES = {"model": model, "faults": faults}


class Link:
    """The way to one worker, which lives in a network namespace of its own."""

    def __init__(self, number: int) -> None:
        self.name, self.address = f"{BRIDGE}{number}", ADDRESS.format(number + 1)
        ip("netns", "add", self.name)
        ip("link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("link", "set", self.name, "master", BRIDGE, "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for inside in ("eth0", "lo"):
            ip("-n", self.name, "link", "set", inside, "up")

    def limit(self, mbit: float) -> None:
        """So many Mbit/s each way."""
        shape = ("root", "tbf", "rate", f"{mbit}mbit", "burst", "128kb", "latency", "100ms")
        run("tc", "qdisc", "replace", "dev", self.name, *shape)
        run("tc", "-n", self.name, "qdisc", "replace", "dev", "eth0", *shape)

    def cut(self) -> None:
        ip("link", "set", self.name, "down")

    def mend(self) -> None:
        ip("link", "set", self.name, "up")

    @property
    def carried(self) -> int:
        """The bytes that came and went so far."""
        counters = Path("/sys/class/net", self.name, "statistics")
        return sum(int((counters / f"{way}_bytes").read_text()) for way in ("rx", "tx"))


class Network:
    """A scheduler of Dask and workers behind links."""

    def __init__(self, links: list[Link]) -> None:
        self.links = links
        self.engine = Dask(f"tcp://{ADDRESS.format(1)}:{PORT}")
        self._scheduler = started("scheduler", "--host", ADDRESS.format(1), "--port", str(PORT))
        self._nannies = {link.name: self._worker(link) for link in links}
        self.staffed()

    def staffed(self) -> None:
        """Waits until every worker is there; one that has ended is started again."""
        for link in self.links:
            if self._nannies[link.name].poll() is not None:
                self._nannies[link.name] = self._worker(link)
        with distributed.Client(self.engine.address, timeout=30, set_as_default=False) as client:
            client.wait_for_workers(len(self.links), timeout=LONG)

    def _worker(self, link: Link) -> subprocess.Popen[bytes]:
        return started("worker", self.engine.address, "--nthreads", "1", inside=link.name)

    def workers(self) -> list[psutil.Process]:
        """The processes that work, one below each nanny."""
        return [
            child
            for nanny in self._nannies.values()
            if nanny.poll() is None
            for child in psutil.Process(nanny.pid).children(recursive=True)
            if "spawn_main" in " ".join(child.cmdline())
        ]

    def end(self) -> None:
        if client := CLIENTS.pop(self.engine.address, None):
            client.close()
        for process in (self._scheduler, *self._nannies.values()):
            with suppress(psutil.NoSuchProcess):
                for one in [*psutil.Process(process.pid).children(recursive=True), process]:
                    one.kill()
            process.wait()


@contextmanager
def network(workers: int = 2) -> Iterator[Network]:
    """A bridge of this machine with a scheduler, and workers behind it; nothing of it stays."""
    torn_down(workers)
    ip("link", "add", BRIDGE, "type", "bridge")
    made = None
    try:
        ip("addr", "add", f"{ADDRESS.format(1)}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        made = Network([Link(number) for number in range(1, workers + 1)])
        yield made
    finally:
        if made is not None:
            made.end()
        torn_down(workers)


def torn_down(workers: int) -> None:
    for number in range(1, workers + 1):
        subprocess.run(["ip", "netns", "del", f"{BRIDGE}{number}"], stderr=subprocess.DEVNULL)
        subprocess.run(["ip", "link", "del", f"{BRIDGE}{number}"], stderr=subprocess.DEVNULL)
    subprocess.run(["ip", "link", "del", BRIDGE], stderr=subprocess.DEVNULL)


def started(kind: str, *arguments: str, inside: str = "") -> subprocess.Popen[bytes]:
    """A process of Dask, within a namespace or outside of all."""
    return subprocess.Popen(
        [
            *(("ip", "netns", "exec", inside) if inside else ()),
            *(sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"),
        ],
        env={**os.environ, **WORKER},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def ip(*arguments: str) -> None:
    run("ip", *arguments)


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows and kills: a smoke run")
    parser.add_argument("--only", choices=CASES, help="one case")
    parser.add_argument("--folder", type=Path, help="where the files are kept for the next run")
    given = parser.parse_args()
    if sys.platform != "linux" or os.geteuid() or not shutil.which("tc"):
        sys.exit("this needs Linux, root, and ip and tc of iproute2")
    print(f"{len(os.sched_getaffinity(0))} cores; load before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as own:
        for name in [given.only] if given.only else CASES:
            print(f"\n{name}: {CASES[name].__doc__}")
            CASES[name](given.folder or Path(own), 10 if given.quick else 1)


if __name__ == "__main__":
    main()
