"""What the command prints, and where: files before output, tables that other programs read, Ctrl-C."""

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import gentle as library
from gentle.cli.app import app

ROOT = Path(__file__).parent.parent.parent
GENTLE = f"{shlex.quote(sys.executable)} -W error -m gentle"  # and no warning
LOCALES = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "C": {"PYTHONIOENCODING": "", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}
ODD = [
    "naïve 価格",
    'a "b", c',
    "a\nb",
    "a\r\nb",
    "a\rb",
    "\x1b[31mred",
    "<script>",
    "=1+1",
    " a ",
    "a|b",
    "´`$",
]


@pytest.fixture
def folder(tmp_path):
    """A folder with a table of odd names, and the examples."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, len(ODD)))
    frame = pl.DataFrame(
        dict(zip(ODD, x.T, strict=True)) | {"y": x.sum(axis=1) + rng.normal(size=40)}
    )
    frame.write_parquet(tmp_path / "odd.parquet")
    (tmp_path / "examples").symlink_to(ROOT / "examples")

    return tmp_path


@pytest.fixture
def shell(folder, environment):
    """Runs a line of the shell there: (exit code, stdout, stderr)."""

    def run(line, **variables):
        done = subprocess.run(
            ["bash", "-c", re.sub(r"^gentle", lambda _: GENTLE, line)],
            capture_output=True,
            cwd=folder,
            env=environment | variables,
            timeout=120,
            check=False,
        )
        error = done.stderr.decode(errors="replace")
        assert "Traceback" not in error
        assert "Exception ignored" not in error
        return done.returncode, done.stdout, error

    return run


@pytest.fixture
def command(folder, monkeypatch):
    """Runs the command in this process, which is faster: (exit code, stdout, stderr)."""
    monkeypatch.chdir(folder)

    def run(line, **variables):
        done = CliRunner().invoke(app, shlex.split(line)[1:], env={"COLUMNS": "80"} | variables)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.exit_code, done.stdout_bytes, done.stderr

    return run


def in_proofs(*cases):
    """Cases that only the long evidence runs: each starts a process."""
    long = pytest.mark.skipif(not os.environ.get("GENTLE_PROOFS"), reason="one of the proofs")
    return [pytest.param(*case, marks=long) for case in cases]


# --- files first -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ("> /dev/full", 1, "cannot be written: No space left"),
        (">&- 2>&- <&-", 0, ""),
        ("| true; exit ${PIPESTATUS[0]}", 141, ""),
        *in_proofs((">&-", 0, ""), ("2>&-", 0, ""), ("2>/dev/full", 0, "")),
    ],
)
def test_a_model_is_saved_whatever_becomes_of_the_output(shell, tmp_path, end, code, words):
    done = shell(f"gentle fit odd.parquet --target y --save m.gentle {end}")
    assert done[0] == code, done
    assert words in done[2]
    assert done[2].count("\n") <= 1
    assert library.load(tmp_path / "m.gentle").n_rows == 40


@pytest.mark.parametrize("end", in_proofs(["> /dev/full"], [">&-"], ["| true"]))
@pytest.mark.parametrize(
    "command", ["compare examples/norris.csv --target y --solvers cg", "tour --rows 200"]
)
def test_pictures_are_written_whatever_becomes_of_the_output(shell, tmp_path, command, end):
    shell(f"gentle {command} --out out {end}")
    assert list((tmp_path / "out").glob("*.png"))


def test_a_refusal_is_one_whatever_becomes_of_the_output(shell, proofs):
    for end in (">&-", "2>&-", "2>/dev/full", "2>&1 | true; exit ${PIPESTATUS[0]}")[
        : 4 if proofs else 0
    ]:
        assert shell(f"gentle fit odd.parquet --target z {end}")[0] == 2
    assert shell("gentle --help > /dev/full")[0] == 1
    assert shell("gentle --help | true; exit ${PIPESTATUS[0]}")[0] == 141


@pytest.mark.parametrize("locale", ["C", *in_proofs(["ascii"], ["latin-1"])])
def test_output_that_cannot_be_encoded_is_escaped(shell, tmp_path, locale):
    code, out, error = shell("gentle fit odd.parquet --target y --save m.gentle", **LOCALES[locale])
    assert (code, error) == (0, "")
    assert rb"\u4fa1" in out
    assert b"\x1b" not in out
    assert (tmp_path / "m.gentle").exists()
    code, _, error = shell("gentle fit odd.parquet --target 価", **LOCALES[locale])
    assert code == 2
    assert error.count("\n") == 1


@pytest.mark.parametrize("columns", ["0", "10", "-1", "wide", "79", "100000"])
def test_any_width_prints_a_whole_table(command, columns):
    code, out, error = command("gentle fit odd.parquet --target y", COLUMNS=columns)
    assert (code, error) == (0, "")
    rows = [line for line in out.decode().splitlines() if re.search(r"  0\.\d{3}  ", line)]
    assert len(rows) == len(ODD) + 1
    assert len(set(map(len, rows))) <= 2  # wide characters count twice


# --- tables for other programs ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["json", "csv"])
@pytest.mark.parametrize(
    "asked", ["odd.parquet --target y", "examples/longley.csv --target employed"]
)
def test_certify_reads_what_fit_writes(command, folder, kind, asked):
    code, out, error = command(f"gentle fit {asked} --{kind} --save m.gentle")
    assert (code, error) == (0, "Model: m.gentle\n")
    (folder / f"c.{kind}").write_bytes(out)
    fit = library.load(folder / "m.gentle")
    text = out.decode()
    if kind == "json":
        found = {name: one["coefficient"] for name, one in json.loads(text)["coefficients"].items()}
        assert text.isascii()
    else:
        rows = csv.DictReader(io.StringIO(text, newline=""))
        found = {row["name"]: float(row["coefficient"]) for row in rows}
    assert found == dict(fit.coef)  # to the last bit
    code, out, error = command(f"gentle certify {asked} --coef c.{kind}")
    assert (code, error) == (0, "")
    assert b"The two answers agree" in out


def test_certify_reads_what_fit_writes_of_several_targets_and_of_dropped_columns(command, folder):
    x = np.random.default_rng(1).normal(size=(30, 3))
    columns = {
        "a": x[:, 0],
        "b": x[:, 1],
        "twin": 2 * x[:, 0],
        "y1": x[:, 2],
        "y2": x.sum(axis=1) ** 2,
    }
    pl.DataFrame(columns).write_csv(folder / "t.csv")
    for kind in ("json", "csv"):
        code, out, error = command(f"gentle fit t.csv 'y1 + y2 ~ a + b + twin' --{kind}")
        assert (code, error) == (0, "")
        (folder / f"c.{kind}").write_bytes(out)
        for target in ("y1", "y2"):
            code, out, error = command(
                f"gentle certify t.csv '{target} ~ a + b + twin' --coef c.{kind}"
            )
            assert (code, error) == (0, "")
            assert b"The two answers agree" in out
        code, _, error = command(f"gentle certify t.csv 'a ~ b' --coef c.{kind}")
        assert code == 2
        assert "'y1' and 'y2'" in error


def test_a_table_for_other_programs_is_alone_on_standard_output(command):
    for kind, first in {
        "markdown": b"| y |",
        "latex": b"\\begin{tabular}",
        "csv": b'"name",',
        "json": b"{",
    }.items():
        code, out, error = command(f"gentle fit odd.parquet --target y --{kind}")
        assert (code, error) == (0, "")
        assert out.startswith(first)
    code, out, error = command("gentle fit odd.parquet --target y --json --csv")
    assert (code, out) == (2, b"")
    assert "--json and --csv" in error


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.json", "[1, 2]", "names with coefficients"),
        ("c.json", "{", "not JSON"),
        ("c.json", '{"x": 1}', "'Intercept'"),
        ("c.csv", "", "no rows"),
        ("c.csv", "who,what\nx,1\n", "'who' and 'what'"),
        ("c.csv", "name,coefficient\nIntercept,1\nx,big\n", "'big'"),
        ("c.csv", "name,coefficient\nIntercept,1\nz,2\n", "'x'"),
    ],
)
def test_coefficients_that_cannot_be_read_are_refused(command, folder, name, text, words):
    (folder / name).write_text(text)
    code, out, error = command(f"gentle certify examples/norris.csv 'y ~ x' --coef {name}")
    assert (code, out) == (2, b"")
    assert words in error
    assert error.count("\n") == 1


def test_a_coefficient_is_printed_once_unless_the_answers_differ(command):
    out = command("gentle fit examples/norris.csv 'y ~ x'")[1].decode()
    assert out.count("1.00212 ") == 1
    assert "0.975]" in out
    slow = "--solver gd --learning-rate 0.01 --max-passes 20"
    out = command(f"gentle fit examples/norris.csv 'y ~ x' {slow}")[1].decode()
    assert re.search(r"descent +exact", out)


@pytest.mark.parametrize(
    "line",
    [
        "gentle fit {}.csv --target y",
        "gentle predict {} examples/norris.csv",
        "gentle certify examples/norris.csv 'y ~ x' --coef {}.json",
        "gentle compare examples/norris.csv 'y ~ x' --solvers cg --out {}",
    ],
)
def test_a_name_that_no_file_has_for_its_length_is_refused(command, line):
    code, out, error = command(line.format("n" * 300))
    assert (code, out) == (2, b"")
    assert error.count("\n") == 1


def test_words_of_the_shell_that_hold_escapes_come_back_printable(command):
    for words in ("--\x1b[31m", "'--test=\x1b]0;t\x07'", "--target=\x9bm", "--engine=\u202eno"):
        code, out, error = command(f"gentle fit examples/norris.csv {words}")
        assert (code, out) == (2, b"")
        assert error.replace("\n", "").isprintable()


# --- Ctrl-C ----------------------------------------------------------------------------------------


START = "import gentle.cli, sys; print(file=sys.stderr, flush=True); gentle.cli.main()"


def interruptible():
    """For a child whose parent ignores Ctrl-C, as jobs in the background do."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("command", ["fit", "tour", "compare", "predict"])
def test_ctrl_c_ends_the_command_in_a_sentence_at_any_time(tmp_path, environment, command, proofs):
    if command != "fit" and not proofs:
        pytest.skip("one of the proofs")
    asked = {
        "fit": [str(ROOT / "examples" / "norris.csv"), "y ~ x"],
        "compare": [str(ROOT / "examples" / "norris.csv"), "y ~ x", "--out", "out"],
        "tour": ["--rows", "200", "--out", "out"],
        "predict": ["none.gentle", "none.csv"],
    }[command]
    endings = set()
    for delay in np.linspace(0.05, 3.0, 40 if proofs else 2):
        process = subprocess.Popen(
            [sys.executable, "-c", START, command, *asked],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment,
            text=True,
            preexec_fn=interruptible,
        )
        assert process.stderr.readline() == "\n"  # Python itself has started
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert process.returncode in (0, 2, 130), (delay, error)
        assert "Traceback" not in error, (delay, error)
        assert error.count("\n") <= 1, (delay, error)
        if process.returncode == 130:
            assert error.startswith("Interrupted")
        endings.add(process.returncode)
        assert not [path for path in tmp_path.rglob("*") if ".part" in path.name]
    assert 130 in endings


# --- README ----------------------------------------------------------------------------------------


def test_the_commands_of_the_readme_run_on_files_that_are_there(command, folder):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^(?:    |<!-- \$ )(gentle .*?)(?: -->)?$", text, re.MULTILINE)
    assert len(lines) >= 9
    for line in lines:
        line, _, to = line.partition(" > ")
        code, out, error = command(line)
        assert code == 0, (line, error)
        assert error == ""
        if to:
            (folder / to).write_bytes(out)
    for name in ("model.gentle", "predictions.parquet", "pictures/compare.png"):
        assert (folder / name).stat().st_size > 0
