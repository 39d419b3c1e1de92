"""Writing: each file is whole, whoever else writes it and however a process ends, and no input is lost."""

import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import numpy as np
import polars as pl
import pytest

import gentle
from gentle.errors import GentleError
from gentle.files import written, written_folder

FRAME = pl.DataFrame({"x": [0.0, 1.0, 2.0, 5.0], "y": [1.0, 3.1, 5.0, 11.0]})


def left(folder):
    return [path.name for path in Path(folder).rglob("*") if ".part" in path.name]


def model(at):
    """A fit whose coefficient says which it is, of a length of its own."""
    x = np.random.default_rng(at).normal(size=(40, 1 + at % 7))
    return gentle.fit((x, x[:, 0] * at + 1))


def save_often(path, at, times):
    fit = model(at)
    for _ in range(times):
        fit.save(path)


def test_writers_of_one_file_never_mix(tmp_path, proofs):
    """Threads and processes save models to one path while it is loaded: each loading finds one of them."""
    path = tmp_path / "m.gentle"
    times = 100 if proofs else 6
    save_often(path, 1, 1)
    spawn = get_context("spawn")
    writers = [Thread(target=save_often, args=(path, at, times)) for at in (2, 3, 4, 5)]
    writers += [
        spawn.Process(target=save_often, args=(path, at, times))
        for at in ((6, 7) if proofs else (6,))
    ]
    for writer in writers:
        writer.start()
    readings = 0
    while any(writer.is_alive() for writer in writers) or readings < 10:
        found = gentle.load(path)
        at = round(found.coef["x1"])
        assert 1 <= at <= 7
        assert len(found.names) == 2 + at % 7
        readings += 1
    for writer in writers:
        writer.join()
    assert not left(tmp_path)
    assert [getattr(writer, "exitcode", 0) for writer in writers] == [0] * len(writers)


def test_a_link_that_was_planted_is_not_followed(tmp_path):
    """Under any name that the process could be expected to choose."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (f".m.gentle.{os.getpid()}.part", "m.gentle.part", ".m.gentle.part"):
        (tmp_path / name).symlink_to(victim)
    model(1).save(tmp_path / "m.gentle")
    assert victim.read_text() == "mine"
    seen = set()
    for _ in range(50):
        with written(tmp_path / "m.gentle") as temporary:
            assert not temporary.is_symlink()
            seen.add(temporary.name)
    assert len(seen) == 50


def test_a_name_that_is_taken_is_refused_and_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda _: "0")
    (tmp_path / "victim").write_text("mine")
    (tmp_path / ".0.part").symlink_to(tmp_path / "victim")
    with pytest.raises(GentleError, match="exists"), written(tmp_path / "m"):
        pass
    assert (tmp_path / ".0.part").is_symlink()
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_modes_are_those_of_the_umask_or_of_what_was_there(umask, tmp_path):
    before = os.umask(umask)
    try:
        model(1).save(tmp_path / "new")
        (tmp_path / "old").touch()
        (tmp_path / "old").chmod(0o640)
        model(1).save(tmp_path / "old")
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o666 & ~umask
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o640


WAITS = """
import signal, sys, time
from pathlib import Path
from gentle.files import written, written_folder
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores
signal.signal(signal.SIGINT, signal.default_int_handler)  # and a shell in what it starts beside itself
kind, place = sys.argv[1:]
with (written if kind == "file" else written_folder)(Path(place)) as temporary:
    (temporary if kind == "file" else temporary / "a.png").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing_half_written(kind, number, tmp_path):
    place = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, kind, str(place)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_is_ended_leaves_nothing(tmp_path, proofs):
    rng = np.random.default_rng(0)
    x = rng.normal(size=100_000)
    pl.DataFrame({"x": x, "y": x}).write_csv(tmp_path / "d.csv")
    gentle.fit(FRAME, "y ~ x").save(tmp_path / "m.gentle")
    before = sorted(tmp_path.iterdir())
    run = "from gentle.cli import main; main()"
    for number in (signal.SIGTERM, signal.SIGHUP) if proofs else (signal.SIGTERM,):
        process = subprocess.Popen(
            [sys.executable, "-c", run, "predict", "m.gentle", "d.csv", "-o", "out.csv", "--append"],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        while process.poll() is None and not left(tmp_path):
            time.sleep(0.001)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert not left(tmp_path)
        (tmp_path / "out.csv").unlink(missing_ok=True)  # where it was quicker than the signal
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "name", ["a" * 256, "é" * 128, "a/" + "b" * 300, "a" * 300 + ".csv", "x" * 5_000, "a\0b.csv"]
)
def test_a_name_that_no_file_system_takes_is_a_sentence(name, tmp_path):
    fit = gentle.fit(FRAME, "y ~ x")
    (tmp_path / "a").mkdir()
    for act in (
        lambda path: fit.save(path),
        lambda path: fit.predict_to(FRAME, path),
        gentle.load,
        lambda path: gentle.fit(path, "y ~ x"),
        lambda path: written_folder(Path(path)).__enter__(),
    ):
        with pytest.raises(GentleError):
            act(str(tmp_path / name))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("a" * 255)
    fit = gentle.fit(FRAME, "y ~ x")
    fit.save(path)
    assert gentle.load(path).coef == fit.coef


WAYS = [
    "itself",
    "a link to it",
    "from a link",
    "a hard link",
    "through its folder",
    "a pattern",
    "a folder",
    "options",
]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".arrow", ".ndjson"])
@pytest.mark.parametrize("way", WAYS)
def test_predictions_never_replace_what_is_read(way, ending, tmp_path):
    folder = tmp_path / "rows"
    folder.mkdir()
    path = folder / f"d{ending}"
    getattr(
        FRAME,
        {
            ".csv": "write_csv",
            ".parquet": "write_parquet",
            ".arrow": "write_ipc",
            ".ndjson": "write_ndjson",
        }[ending],
    )(path)
    before = path.read_bytes()
    data, out = path, path
    if way == "a link to it":
        out = tmp_path / f"link{ending}"
        out.symlink_to(path)
    elif way == "from a link":
        data = tmp_path / f"link{ending}"
        data.symlink_to(path)
    elif way == "a hard link":
        out = tmp_path / f"link{ending}"
        out.hardlink_to(path)
    elif way == "through its folder":
        out = folder / ".." / "rows" / path.name
    elif way == "a pattern":
        data = folder / f"*{ending}"
    elif way == "a folder":
        data = folder
    elif way == "options" and ending == ".csv":
        data = gentle.read_csv(path)
    fit = gentle.fit(FRAME, "y ~ x")
    with pytest.raises(GentleError, match="would be replaced"):
        fit.predict_to(data, out)
    assert path.read_bytes() == before
    fit.predict_to(data, folder / f"new{ending}")
    assert not left(tmp_path)
