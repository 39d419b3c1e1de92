"""The command as a person meets it: real processes, real files, sentences and exit codes."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest
from PIL import Image

MAIN = "from gentle.cli import main; main()"
SMALL = ("tour", "--rows", 200, "--iterations", 40)


def told(done):
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    return done.stdout


def refused(done, *words):
    """Exit code 2, nothing printed, and one sentence that holds these words."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert done.stdout == ""
    assert "\x1b" not in done.stderr
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


# --- help ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [[], ["tour"], ["fit"], ["predict"], ["compare"]],
    ids=lambda it: it[0] if it else "gentle",
)
def test_help_shows_an_example_and_fits_80_columns(gentle, command):
    text = told(gentle(*command, "--help"))
    assert "Example" in text
    assert f"gentle {command[0] if command else 'tour'}" in text
    assert max(map(len, text.splitlines())) <= 80
    assert told(gentle(*command, "-h")) == text


def test_the_exact_answer_alone_comes_with_its_intervals(gentle, examples):
    text = told(gentle("fit", examples / "norris.csv", "y ~ x", "--exact"))
    assert "[0.025" in text
    assert "descent" not in text
    refused(gentle("fit", examples / "norris.csv", "y ~ x", "--rank", "first"), "minimum-norm")


def test_the_version_is_the_version(gentle):
    from gentle import __version__

    assert told(gentle("--version")).strip() == f"gentle {__version__}"


def test_the_command_is_installed(tmp_path, environment):
    command = os.path.join(os.path.dirname(sys.executable), "gentle")
    if not os.path.exists(command):
        pytest.skip("there is no script beside this interpreter")
    done = subprocess.run(
        [command, "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["fitt"],
        ["fit"],
        ["fit", "a.csv", "y ~ x", "one too many"],
        ["fit", "a.csv", "--test", "half"],
        ["fit", "a.csv", "--missing", "median"],
        ["fit", "a.csv", "--tol"],
        ["compare"],
        ["compare", "a.csv", "--tol", "small"],
        ["compare", "a.csv", "--max-passes"],
        ["tour", "--rows", "many"],
        ["tour", "--seed", "-3"],
        ["tour", "--no-such-option"],
        ["tour", "an-argument"],
    ],
    ids=" ".join,
)
def test_an_argument_that_cannot_be_read_is_an_error_of_the_caller(gentle, arguments):
    done = gentle(*arguments)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


# --- tour ---------------------------------------------------------------------------------------


def test_a_tour_without_pictures_writes_nothing(gentle, tmp_path):
    text = told(gentle(*SMALL, "--no-pictures"))
    assert text.count("──") >= 9
    assert "two answers" in text
    assert list(tmp_path.iterdir()) == []


def test_a_tour_writes_its_folder_and_says_where(gentle, tmp_path):
    text = told(gentle(*SMALL, "--out", "a/b"))
    assert os.path.join("a", "b", "index.html") in text
    files = {path.name for path in (tmp_path / "a" / "b").iterdir()}
    assert {"index.html", "descent.gif", "surface.png"} <= files
    assert not [name for name in files if name.startswith(".")]


def test_a_tour_into_a_folder_in_use_leaves_the_rest_of_it_alone(gentle, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    told(gentle(*SMALL, "--out", "out"))
    told(gentle(*SMALL, "--out", "out", "--seed", 1))
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_the_same_seed_prints_the_same(gentle):
    one, two, other = (told(gentle(*SMALL, "--no-pictures", "--seed", s)) for s in (1, 1, 2))
    assert one == two
    assert one != other


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--learning-rate", "0"], "learning rate"),
        (["--learning-rate", "-1"], "learning rate"),
        (["--learning-rate", "nan"], "learning rate"),
        (["--learning-rate", "inf"], "learning rate"),
        (["--iterations", "0"], "iterations"),
        (["--rows", "1"], "rows"),
        (["--batch-size", "0"], "batch size"),
        (["--noise", "-1"], "noise"),
        (["--noise", "nan"], "noise"),
    ],
    ids=lambda it: " ".join(it) if isinstance(it, list) else it,
)
def test_a_tour_that_makes_no_sense_is_refused(gentle, options, word, tmp_path):
    refused(gentle("tour", *options), word)
    assert list(tmp_path.iterdir()) == []


def test_a_rate_that_is_too_large_is_shown_to_run_away(gentle, tmp_path):
    out = told(gentle("tour", "--rows", 200, "--learning-rate", 5))
    assert re.search(r"largest .* for these rows .* is [\d.]+", " ".join(out.split()))
    assert (tmp_path / "tour" / "divergence.png").exists()


def test_a_folder_that_is_a_file_is_refused(gentle, tmp_path):
    (tmp_path / "taken").write_text("mine")
    refused(gentle(*SMALL, "--out", "taken"), "taken")
    refused(gentle(*SMALL, "--out", "taken/below"), "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_place_that_cannot_be_written_to_is_refused(gentle):
    refused(gentle(*SMALL, "--out", "/proc/nowhere"), "/proc/nowhere")


# --- fit ----------------------------------------------------------------------------------------


def test_longley(gentle, examples):
    text = told(gentle("fit", examples / "longley.csv", "--target", "employed"))
    assert "16 of 16 rows used" in text
    assert "0.995479" in text
    assert "-3.48226e+06" in text
    assert "The two answers agree" in text
    assert max(map(len, text.splitlines())) <= 80


def timeless(text):
    """Without the seconds, which are others every time."""
    return re.sub(r"[\d.]+ m?s\b", "", text)


def test_norris(gentle, examples):
    text = told(gentle("fit", examples / "norris.csv", "y ~ x"))
    assert "1.00212" in text
    assert "0.0004298 " in text
    again = told(gentle("fit", examples / "norris.csv", "--target", "y"))
    assert timeless(text) == timeless(again)


def test_flights(gentle, flights):
    formula = "arr_delay ~ dep_delay + distance"
    text = told(gentle("fit", flights, formula, "--test", 0.25))
    assert re.search(r"of 252,582 train rows used", text)
    assert "held out: " in text
    assert "The two answers agree" in text
    shuffled = told(gentle("fit", flights, formula, "--test", 0.25, "--shuffle"))
    assert shuffled != text
    assert re.search(r"of 252,582 train rows used", shuffled)
    assert "327,346 of 336,776 rows used" in told(gentle("fit", flights, formula))


def test_colours_stay_out_of_pipes_and_away_where_they_are_not_wanted(gentle, examples):
    arguments = ("fit", examples / "norris.csv", "y ~ x")
    assert "\x1b" not in told(gentle(*arguments, NO_COLOR="1"))
    assert "\x1b" not in told(gentle(*arguments))
    assert "\x1b" not in gentle("fit", "nowhere.csv", NO_COLOR="1").stderr


ROWS = 30


def table():
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=ROWS), rng.normal(size=ROWS)
    return pl.DataFrame({"x": x, "z": z, "price": 2 * x - z + rng.normal(size=ROWS)})


def write(folder, text, name="t.csv"):
    path = folder / name
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(text, encoding="utf-8")
    return path.name


def csv_with(row, column, value):
    """The table with one field changed; rows count from 1."""
    lines = [line.split(",") for line in table().write_csv().splitlines()]
    lines[row][lines[0].index(column)] = value
    return "\n".join(map(",".join, lines)) + "\n"


GOOD = table().write_csv()
LINES = GOOD.splitlines()
TEXTS = {
    "an empty file": ("", []),
    "a header alone": ("x,z,price\n", []),
    "no header": ("1,2,3\n4,5,6\n7,8,10\n", ["names"]),
    "a long row": ("\n".join([*LINES[:5], LINES[5] + ",9", *LINES[6:]]), ["row 5"]),
    "a short row": ("\n".join([*LINES[:5], "1,2", *LINES[6:]]), ["row 5"]),
    "a short last row": ("\n".join([*LINES[:5], "1"]), ["row 5"]),
    "a name twice": ("x,x,price\n1,2,3\n3,4,6\n5,6,1\n", ["'x'"]),
    "a column without a name": ("x,,price\n1,2,3\n3,4,6\n5,6,1\n", ["column"]),
    "bytes that are not UTF-8": ("x,n\xf6te,price\n1,2,3\n".encode("latin-1") * 2, ["UTF-8"]),
    "values that are not UTF-8": ("x,z,price\n1,\xf6,3\n2,b,4\n".encode("latin-1"), ["UTF-8"]),
    "text among numbers": (csv_with(7, "x", "oops"), ["'x'", "'oops'", "row 7"]),
    "text in the target": (csv_with(7, "price", "oops"), ["'price'", "'oops'", "row 7"]),
    "an infinity": (csv_with(7, "z", "inf"), ["'z'", "row 7", "infinite"]),
    "an infinite target": (csv_with(7, "price", "-inf"), ["'price'", "row 7", "infinite"]),
    "a constant target": ("x,price\n" + "".join(f"{i},5\n" for i in range(9)), ["'price'"]),
    "a target of text": ("x,price\n1,low\n2,high\n3,low\n", ["'price'", "'low'"]),
    "no complete row": ("x,price\n1,\n,2\n3,\n,4\n", ["no row"]),
    "an empty column": ("x,price\n,1\n,2\n,3\n", ["'x'"]),
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_table_that_cannot_be_used_is_refused_with_its_place(gentle, tmp_path, case):
    text, words = TEXTS[case]
    refused(gentle("fit", write(tmp_path, text), "--target", "price"), "t.csv", *words)


def test_a_file_that_is_none_is_refused(gentle, tmp_path):
    write(tmp_path, GOOD, "prices.csv")
    write(tmp_path, GOOD, "prices.txt")
    (tmp_path / "folder.csv").mkdir()
    table().write_parquet(tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    write(tmp_path, whole[: len(whole) // 2], "half.parquet")
    write(tmp_path, GOOD, "text.parquet")
    write(tmp_path, b"", "empty.parquet")
    refused(gentle("fit", "price.csv", "--target", "price"), "price.csv", "prices.csv")
    refused(gentle("fit", "no/such/file.csv", "--target", "price"), "file.csv")
    refused(gentle("fit", "prices.txt", "--target", "price"), "prices.txt", ".csv", ".parquet")
    refused(gentle("fit", "folder.csv", "--target", "price"), "folder.csv", "directory")
    refused(gentle("fit", ".", "--target", "price"), "several kinds", ".csv", ".parquet")
    for name in ("half.parquet", "text.parquet", "empty.parquet"):
        refused(gentle("fit", name, "--target", "price"), name)


BAD_ARGUMENTS = [
    (["--target", "prize"], ["'prize'", "did you mean 'price'"]),
    (["price ~ y"], ["'y'"]),
    (["price ~ x + zz"], ["'zz'", "'z'"]),
    (["price ~ I(__import__('os').system('touch MARK'))"], ["is not a formula"]),
    (["price ~ {__import__('os').system('touch MARK')}"], ["is not a formula"]),
    (["price"], ["price"]),
    (["price ~ x ~ z"], ["price ~ x ~ z"]),
    (["price ~ x", "--target", "price"], ["both"]),
    ([], ["target"]),
    (["--target", "price", "--test", "0"], ["test share"]),
    (["--target", "price", "--test", "1"], ["test share"]),
    (["--target", "price", "--test", "nan"], ["test share"]),
    (["--target", "price", "--test", "-0.5"], ["test share"]),
    (["--target", "price", "--shuffle"], ["--test"]),
    (["--target", "price", "--tol", "nan"], ["tol"]),
]


@pytest.mark.parametrize(("arguments", "words"), BAD_ARGUMENTS, ids=lambda it: " ".join(it) or "-")
def test_a_question_that_makes_no_sense_is_refused(gentle, tmp_path, arguments, words):
    refused(gentle("fit", write(tmp_path, GOOD), *arguments), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize("gap", ["", "NA"])
def test_rows_with_gaps_are_dropped_and_counted_or_refused(gentle, tmp_path, gap):
    name = write(tmp_path, csv_with(7, "x", gap))
    text = told(gentle("fit", name, "--target", "price"))
    assert f"{ROWS - 1} of {ROWS} rows used, 1 dropped: no x in 1\n" in text
    refused(gentle("fit", name, "--target", "price", "--missing", "raise"), "t.csv", "'x'", "row 7")


def test_gaps_and_nans_in_parquet_are_dropped_and_counted(gentle, tmp_path):
    frame = table().with_columns(
        x=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("x"),
        z=pl.when(pl.int_range(pl.len()) == 5).then(float("nan")).otherwise("z"),
    )
    frame.write_parquet(tmp_path / "t.parquet")
    text = told(gentle("fit", "t.parquet", "--target", "price"))
    assert f"{ROWS - 2} of {ROWS} rows used, 2 dropped: no x in 1, no z in 1\n" in text


def test_fewer_rows_than_columns_are_answered_and_said(gentle, tmp_path):
    name = write(tmp_path, "a,b,c,d,price\n1,2,3,5,1\n2,9,4,1,5\n7,3,1,1,2\n")
    text = told(gentle("fit", name, "--target", "price"))
    assert "no degree of freedom" in text
    assert "left out: c" in text
    assert "left out: d" in text


def test_a_column_that_says_nothing_new_is_named(gentle, tmp_path):
    table().with_columns(w=2 * pl.col("x") + 1).select("x", "z", "w", "price").write_csv(
        tmp_path / "t.csv"
    )
    text = told(gentle("fit", "t.csv", "--target", "price"))
    assert "left out: w, which is 2 * x + 1" in " ".join(text.split())


@pytest.mark.parametrize(
    "text", [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD.rstrip("\n"), GOOD + "\n"]
)
def test_the_ways_in_which_tables_are_saved_do_not_matter(gentle, tmp_path, text):
    (tmp_path / "t.csv").write_bytes(text.encode())
    (tmp_path / "good.csv").write_bytes(GOOD.encode())
    import gentle as library

    asked = told(gentle("fit", "t.csv", "--target", "price"))
    assert f"{ROWS} of {ROWS} rows used" in asked
    fitted = library.fit(tmp_path / "good.csv", target="price")
    assert f"R2 = {fitted.r2:.6f}" in asked


# --- compare ------------------------------------------------------------------------------------


def test_every_solver_is_compared_and_drawn(gentle, examples, tmp_path):
    from gentle.choices import DESCENTS

    text = told(gentle("compare", examples / "longley.csv", "--target", "employed", "--out", "a/b"))
    assert max(map(len, text.splitlines())) <= 80
    for name in ("exact", *DESCENTS):
        assert len(re.findall(rf"^{name} ", text, re.MULTILINE)) == 1
    assert "16 of 16 rows used" in text
    closing = " ".join(text.split())
    assert re.search(
        r"First within 0.001 standard errors of the exact answer: in passes .*", closing
    )
    assert text.rstrip().endswith(os.path.join("a", "b", "compare.png"))
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["compare.png"]
    with Image.open(tmp_path / "a" / "b" / "compare.png") as picture:
        picture.load()
        assert picture.width > picture.height > 400


def test_some_solvers_are_compared_and_nothing_is_written(gentle, tmp_path):
    name = write(tmp_path, csv_with(7, "x", ""))
    asked = ("--solvers", "cg, newton", "--weights", "z2", "--l2", 0.1, "--tol", 1e-6)
    frame = table().with_columns(z2=pl.col("z") ** 2 + 1)
    frame.write_csv(tmp_path / "w.csv")
    text = told(gentle("compare", "w.csv", "price ~ x + z", *asked))
    assert re.findall(r"^(\w+) .*(?:arrived|the exact answer)$", text, re.MULTILINE) == [
        "exact",
        "cg",
        "newton",
    ]
    assert "ridge of l2 = 0.1, weights z2" in text
    text = told(gentle("compare", name, "--target", "price", "--solvers", "gd", "--max-passes", 1))
    assert f"{ROWS - 1} of {ROWS} rows used, 1 dropped: no x in 1" in text
    assert "out of passes" in text
    assert "No descent came within" in text
    assert {path.name for path in tmp_path.iterdir()} == {"t.csv", "w.csv"}


def test_the_exact_answer_alone_has_no_picture(gentle, tmp_path):
    name = write(tmp_path, GOOD)
    asked = ("compare", name, "--target", "price", "--solvers", "exact")
    assert re.search(r"^exact .*the exact answer$", told(gentle(*asked)), re.MULTILINE)
    done = gentle(*asked, "--out", "out")
    assert done.returncode == 2
    assert "no descent to draw" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "price", "--solvers", "cg,newtn"], ["'newtn'", "did you mean 'newton'"]),
        (["--target", "price", "--solvers", ""], ["there is no solver ''", "'sgd'"]),
        (["--target", "prize"], ["'prize'", "did you mean 'price'"]),
        (["--target", "price", "--tol", "0"], ["tol"]),
        (["--target", "price", "--max-passes", "0"], ["max_passes"]),
        (["price + z ~ x"], ["one target", "'price' or 'z'"]),
        ([], ["target"]),
        (["price ~ x", "--target", "price"], ["both"]),
        (["--target", "price", "--out", "t.csv"], ["t.csv"]),
        (["--target", "price", "--out", "/proc/nowhere"], ["/proc/nowhere"]),
        (["price ~ I(__import__('os').system('touch MARK'))"], ["is not a formula"]),
    ],
    ids=lambda it: " ".join(it) or "-",
)
@pytest.mark.parametrize("out", [[], ["--out", "new/folder"]], ids=["shown", "drawn"])
def test_a_contest_that_makes_no_sense_is_refused(gentle, tmp_path, arguments, words, out):
    refused(gentle("compare", write(tmp_path, GOOD), *out, *arguments), *words)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_a_contest_of_a_file_that_is_none_is_refused(gentle, tmp_path):
    refused(gentle("compare", "nowhere.csv", "--target", "y", "--out", "out"), "nowhere.csv")
    assert list(tmp_path.iterdir()) == []


# --- Ctrl-C -------------------------------------------------------------------------------------


def interrupted(arguments, folder, environment, until):
    """The command, stopped by Ctrl-C as soon as `until` says so: (exit code, out, err)."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", MAIN, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        until(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


def first_step(process):
    for line in process.stdout:
        if line.startswith("step"):
            return


def test_a_tour_that_is_interrupted_leaves_nothing_behind(tmp_path, environment):
    arguments = ["tour", "--rows", 200_000, "--iterations", 10**7, "--learning-rate", 1e-6]
    code, _, err = interrupted([*arguments, "--out", "a/b"], tmp_path, environment, first_step)
    assert code == 130
    assert err.startswith("Interrupted")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_what_was_there_before(tmp_path, environment):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    arguments = ["tour", "--iterations", 10**7, "--learning-rate", 1e-6, "--out", "out"]
    code, _, _ = interrupted(arguments, tmp_path, environment, first_step)
    assert code == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("solver", ["sgd", "gd", "nesterov"])
def test_a_person_at_a_terminal_sees_how_far_it_is(tmp_path, environment, solver):
    """Standard error is a terminal: passes, distance and the time left come and go on one line."""
    pty = pytest.importorskip("pty")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300_000, 20)) + rng.normal(size=(300_000, 1))
    frame = pl.DataFrame({f"x{j}": x[:, j] for j in range(20)} | {"y": rng.normal(size=len(x))})
    frame.write_parquet(tmp_path / "t.parquet")
    screen, line = pty.openpty()
    arguments = ["fit", "t.parquet", "--target", "y", "--solver", solver, "--tol", "1e-9"]
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=line,
        cwd=tmp_path,
        env=environment,
    ) as process:
        os.close(line)
        seen = b""
        while True:
            try:
                more = os.read(screen, 4096)
            except OSError:  # the other end is closed
                break
            if not more:
                break
            seen += more
    os.close(screen)
    text = seen.decode(errors="replace")
    assert process.returncode == ("has not converged" in text), text
    assert "Traceback" not in text
    assert " passes" in text
    assert " SE away" in text


@pytest.mark.parametrize("after", [1.0, 3.0])
def test_a_fit_that_is_interrupted_says_so(tmp_path, environment, after):
    """Before the descent there is nothing to show; within it, the best it had."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400_000, 40))
    frame = pl.DataFrame({f"x{j}": x[:, j] for j in range(40)} | {"y": rng.normal(size=len(x))})
    frame.write_parquet(tmp_path / "t.parquet")
    arguments = ["fit", "t.parquet", "--target", "y", "--tol", "1e-300"]
    code, out, err = interrupted(arguments, tmp_path, environment, lambda _: time.sleep(after))
    if not err and "two answers" in out:
        pytest.skip("the fit was faster than the interrupt")
    assert code == 130
    assert "Traceback" not in err
    assert "Interrupted" in err


@pytest.mark.parametrize("after", [3.0, 5.0])
def test_a_contest_that_is_interrupted_shows_what_there_is(tmp_path, environment, after):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100_000, 20)) + 100 * rng.normal(size=(100_000, 1))
    frame = pl.DataFrame({f"x{j}": x[:, j] for j in range(20)} | {"y": rng.normal(size=len(x))})
    frame.write_parquet(tmp_path / "t.parquet")
    arguments = ["compare", "t.parquet", "--target", "y", "--solvers", "newton,gd,cg"]
    arguments += ["--max-passes", 10**9, "--out", "out"]
    code, out, err = interrupted(arguments, tmp_path, environment, lambda _: time.sleep(after))
    assert code == 130
    assert "Traceback" not in err
    assert err.startswith("Interrupted")
    if out:  # which of them the interrupt met is the machine's affair
        assert re.search(r"^exact .*the exact answer$", out, re.MULTILINE)
        assert re.search(r"^(newton|gd|cg) .*(interrupted|not run)$", out, re.MULTILINE)
        drawn = re.search(r"^(newton|gd|cg) .*(arrived|interrupted)$", out, re.MULTILINE)
        assert (tmp_path / "out" / "compare.png").exists() == bool(drawn)
    else:
        assert not (tmp_path / "out").exists()


# --- predict ------------------------------------------------------------------------------------


@pytest.fixture
def model(gentle, tmp_path):
    """A model of the table's price, which stands in t.csv."""
    name = write(tmp_path, GOOD)
    text = told(gentle("fit", name, "price ~ x + z", "--save", "price.gentle"))
    assert text.endswith("Model: price.gentle\n")
    return "price.gentle"


def test_a_saved_model_predicts_a_file_to_a_file(gentle, model, tmp_path):
    text = told(
        gentle("predict", model, "t.csv", "-o", "out.parquet", "--interval", 0.9, "--append")
    )
    assert text == f"Predictions: out.parquet\n{ROWS} rows, each with a prediction.\n"
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.columns == ["x", "z", "price", "prediction", "std_error", "low", "high"]
    within = found.select(
        (pl.col("low") <= pl.col("prediction")) & (pl.col("prediction") <= pl.col("high"))
    )
    assert within.to_series().all()
    told(gentle("predict", model, "t.csv", "-o", "new.csv", "--interval", 0.9, "--kind", "new"))
    new = pl.read_csv(tmp_path / "new.csv")
    assert new.columns == ["prediction", "std_error", "low", "high"]
    assert (new["high"] > found["high"]).all()
    assert {it.name for it in tmp_path.iterdir()} == {"t.csv", model, "out.parquet", "new.csv"}


def test_without_a_file_to_write_the_first_rows_are_shown(gentle, model, tmp_path):
    lines = told(gentle("predict", model, "t.csv", "--interval", 0.9, "--append")).splitlines()
    assert lines[0].split() == ["x", "z", "price", "prediction", "std_error", "low", "high"]
    assert [line.split()[0] for line in lines[1:11]] == [str(at) for at in range(1, 11)]
    assert lines[12] == f"and {ROWS - 10} more rows; -o FILE writes all of them"
    assert lines[13] == f"{ROWS} rows, each with a prediction."
    wide = pl.read_csv(tmp_path / "t.csv").with_columns(
        pl.lit("a long text, \n of many words").alias(f"column {at}") for at in range(9)
    )
    wide.head(4).write_csv(tmp_path / "wide.csv")
    text = told(gentle("predict", model, "wide.csv", "--interval", 0.9, "--append"))
    assert max(map(len, text.splitlines())) <= 80
    assert "more columns to the left" in text
    assert "4 rows, each with a prediction." in text


def test_rows_without_a_value_are_counted_and_stay_in_their_place(gentle, model, tmp_path):
    write(tmp_path, csv_with(7, "x", "NA"), "gap.csv")
    text = told(gentle("predict", model, "gap.csv", "-o", "out.csv"))
    assert f"{ROWS} rows, of which 1 has no prediction, as a value is missing there.\n" in text
    assert pl.read_csv(tmp_path / "out.csv")["prediction"].null_count() == 1
    assert pl.read_csv(tmp_path / "out.csv")["prediction"][6] is None


def test_levels_that_were_not_seen_are_refused_or_counted(gentle, tmp_path):
    frame = table().with_columns(city=pl.Series(["a", "b"] * (ROWS // 2)))
    frame.write_csv(tmp_path / "t.csv")
    frame[:3].with_columns(city=pl.Series(["a", "c", "b"])).write_csv(tmp_path / "new.csv")
    told(gentle("fit", "t.csv", "price ~ x + city", "--save", "m.gentle"))
    refused(gentle("predict", "m.gentle", "new.csv"), "'c'", "row 2", "did not see")
    for unseen, said in (("reference", "the reference level"), ("missing", "no prediction")):
        text = " ".join(told(gentle("predict", "m.gentle", "new.csv", "--unseen", unseen)).split())
        assert "1 has a level that the fit did not see" in text
        assert said in text


def test_what_cannot_be_predicted_is_refused(gentle, model, tmp_path):
    write(tmp_path, "z,price\n1,2\n", "less.csv")
    write(tmp_path, csv_with(7, "x", "inf"), "far.csv")
    ridge = "ridge.gentle"
    told(gentle("fit", "t.csv", "price ~ x", "--l2", 0.1, "--save", ridge))
    before = {it.name for it in tmp_path.iterdir()}
    refused(gentle("predict", "no.gentle", "t.csv"), "no.gentle", "not there")
    refused(gentle("predict", "t.csv", "t.csv"), "t.csv", "no model file")
    refused(gentle("predict", model, "no.csv"), "no.csv", "t.csv")
    refused(gentle("predict", model, "less.csv"), "less.csv", "'x'")
    refused(gentle("predict", model, "far.csv", "-o", "out.csv"), "far.csv", "'x'", "row 7")
    refused(gentle("predict", model, "t.csv", "-o", "out.txt"), "out.txt", ".parquet")
    refused(gentle("predict", model, "t.csv", "-o", "no/out.csv"), "no directory")
    refused(gentle("predict", model, "t.csv", "--kind", "new"), "--interval")
    refused(gentle("predict", model, "t.csv", "--interval", 95), "95")
    refused(gentle("predict", ridge, "t.csv", "--interval", 0.9), "ridge")
    refused(gentle("fit", "t.csv", "price ~ x", "--save", "no/such.gentle"), "no directory")
    assert {it.name for it in tmp_path.iterdir()} == before
