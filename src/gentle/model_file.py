"""Model files: a fit as data, about p^2 numbers however many rows it is of.

A model file is a safetensors file. Its tensors are the arrays of the fit, float64 or int64, each called
by its way through the fields of the fit, as "answer.basis". One that lies by columns is stored transposed,
and its name ends in ".T": sums in another order round otherwise. Its metadata hold one JSON text under
"gentle": the format's version, a checksum of everything else, and the fit as a tree of records, in which
the name of a tensor stands for an array. To load is to build frozen values from these, each checked
against the type of its field; no code is run.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from gentle._version import version
from gentle.batch import INTERCEPT, Integers
from gentle.descended import Descended
from gentle.design import Design
from gentle.errors import GentleError
from gentle.files import written
from gentle.online import OnePass
from gentle.result import Fit, Fits

FORMAT = 2
OBJECTIVE = "1/(2W) sum_i w_i (y_i - x_i'b)^2 + l2/2 sum_j b_j^2"  # l2 stands among the choices
DTYPES = {"F64": np.float64, "I64": np.int64}
MOST_WHOLE = 2**63

# Shapes by letters: q coefficients, m of them solved for, c of these slopes; p columns of x, z of x and y,
# r with the constant; one target, k; s of held-out y. With "?" the numbers need not be finite.
SHAPES = {
    "values": "q?",
    "exact_values": "q?",
    "answer.problem.coordinates.centre": "c",
    "answer.problem.coordinates.scale": "c",
    "answer.problem.coordinates.target_centre": "k",
    "answer.problem.coordinates.target_scale": "k",
    "answer.problem.coordinates.columns": "c",
    "answer.problem.factor": "mm",
    "answer.problem.rhs": "mk",
    "answer.problem.rest": "k",
    "answer.problem.tss": "k",
    "answer.fitted.columns": "c",
    "answer.fitted.centre": "c",
    "answer.fitted.coef": "mk",
    "answer.fitted.root": "mm",
    "answer.fitted.low": "mk",
    "answer.coef": "mk",
    "answer.low": "mk",
    "answer.floor": "mk?",
    "answer.basis": "mm",
    "answer.rss": "k",
    "placing.kept": "m",
    "placing.mix": "qm",
    "sandwich.meat": "mm?",
    "sandwich.scaled": "qq?",
    "sandwich.pinned": "mm",
    "sums.shift": "z",
    "sums.unit": "z",
    "sums.first": "z",
    "sums.second": "zz",
    "sums.rounded": "r",
    "sums.coordinates.centre": "p",
    "sums.coordinates.scale": "p",
    "sums.coordinates.target_centre": "k",
    "sums.coordinates.target_scale": "k",
    "sums.r": "rr",
    "certificate.distance": "m?",
    "certificate.rounding": "m?",
    "certificate.yardstick": "m?",
    "certificate.size": "m?",
    "way.values": "q?",
    "way.trace.*.coef": "q?",
    "trace.*.coef": "q?",
    "reach": "q?",
    "held_out.coef": "p",
    "held_out.spread.shift": "s",
    "held_out.spread.unit": "s",
    "held_out.spread.first": "s",
    "held_out.spread.second": "ss",
    "scales": "q?",
    "centre": "p",
}  # fmt: skip
ALIKE = {"way.certificate.": "certificate."}  # where the same stands again

Model = Fit | Fits | Descended | OnePass
Array = npt.NDArray[Any]


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Write a model, whole or not at all; see `load`.

    Raises GentleError where it cannot be written.
    """
    tensors: dict[str, Array] = {}
    document: dict[str, Any] = {
        "format": FORMAT,
        "gentle": version,
        "objective": OBJECTIVE,
        "model": _packed(model, "", tensors, {}),
    }
    document["sha256"] = _checksum(document, tensors)
    with written(Path(path)) as beside:
        try:
            save_file(tensors, beside, {"gentle": _text(document)})
        except SafetensorError as error:
            raise GentleError(f"{path} cannot be written: {error}") from None


def load(path: str | os.PathLike[str]) -> Model:
    """The model that `save` wrote: every number of it, and what is made from them, to the last bit.

    A descent on another device goes on from here on the processor: a file does not know the devices
    of the machine where it is read.

    Raises GentleError for a file that is not there, is none of these, or was changed since.
    """
    if not isinstance(path, str | os.PathLike):
        raise GentleError(
            f"load needs the path of a file that fit.save wrote, not {type(path).__name__}"
        )
    path = Path(path)
    if not os.path.isfile(path):  # also for a name that is too long to exist
        there = "is no file" if os.path.exists(path) else "is not there"
        what = "is a directory" if os.path.isdir(path) else there
        raise GentleError(f"the model {path} {what}: give the path of a file that fit.save wrote")
    try:
        return _loaded(path)
    except OSError as error:
        raise GentleError(f"{path} cannot be read: {error.strerror or error}") from None
    except SafetensorError:
        raise GentleError(
            f"{path} is no model file, or half of one: give a file that fit.save wrote, or fetch it again"
        ) from None
    except RecursionError:
        raise GentleError(
            f"{path} holds no model that can be used: it is nested too deep"
        ) from None
    except (GentleError, UnicodeError) as error:
        raise GentleError(f"{path} holds no model that can be used: {error}") from None


def _loaded(path: Path) -> Model:
    with safe_open(path, framework="np") as file:
        document = _document((file.metadata() or {}).get("gentle"))
        tensors = {}
        for name in file.keys():  # noqa: SIM118  # no mapping
            if file.get_slice(name).get_dtype() not in DTYPES:
                raise GentleError(f"its tensor '{name}' is neither float64 nor int64")
            tensors[name] = file.get_tensor(name)
    if document.pop("sha256", None) != _checksum(document, tensors):
        raise GentleError("it was changed after it was written: save it again, or fetch it again")
    reader = _Reader(tensors)
    model: Model = reader.record(document.get("model"), get_args(Model), "")
    reader.refuse_unused()
    fits = model.fits if isinstance(model, Fits) else (model,)
    if not fits:
        raise _wrong("fits", "one at least")
    for one in fits:
        _refuse_inconsistent(one)
        reader.refuse_other_lengths(len(one.names), len(one.design.names))
    return model


def _document(text: str | None) -> dict[str, Any]:
    """What the metadata say, if this can be read here."""
    if text is None:
        raise GentleError("it is a safetensors file of something else")
    try:
        document = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        raise GentleError("its metadata are not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise GentleError("it does not say which format it has")
    if document["format"] != FORMAT:
        raise GentleError(
            f"it has format {document['format']}, of gentle {document.get('gentle')}, and this gentle "
            f"{version} reads format {FORMAT}: fit and save the model again, or load it with the other"
        )
    if document.get("objective") != OBJECTIVE:
        raise GentleError(f"its objective is not {OBJECTIVE}, the only one known here")
    return document


def _refuse_constant(name: str) -> Any:
    """Numbers that JSON does not know stand as texts: see `_packed`."""
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    """A number of JSON as float64; ValueError for one that is beyond it, as 1e999."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is beyond float64")
    return number


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _checksum(document: Mapping[str, Any], tensors: Mapping[str, Array]) -> str:
    """SHA-256 of the JSON, however it is spaced, and of the tensors with their names and shapes."""
    digest = hashlib.sha256(_text(document).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _packed(value: Any, at: str, tensors: dict[str, Array], known: dict[bytes, str]) -> Any:
    """What JSON holds of a value; its arrays join the tensors, each once."""
    if isinstance(value, Design):
        return value.state()
    if is_dataclass(value):
        record = {field.name: getattr(value, field.name) for field in fields(value)}
        if "device" in record:
            record["device"] = None  # it belongs to the machine, not to the model
        parts = {
            name: _packed(part, f"{at}.{name}".lstrip("."), tensors, known)
            for name, part in record.items()
        }
        return {"kind": type(value).__name__, **parts}
    if isinstance(value, Mapping):
        return {name: _packed(part, at, tensors, known) for name, part in value.items()}
    if isinstance(value, tuple) and value and isinstance(value[0], int | float):
        value = np.array(value)
    if isinstance(value, tuple):
        return [_packed(part, f"{at}.{place}", tensors, known) for place, part in enumerate(value)]
    if isinstance(value, np.ndarray):
        return _named(value, at, tensors, known)
    if isinstance(value, float):  # JSON has no others
        return float(value) if math.isfinite(value) else str(float(value))
    return value.item() if isinstance(value, np.generic) else value


def _named(array: Array, at: str, tensors: dict[str, Array], known: dict[bytes, str]) -> str:
    """The name of the tensor that an array becomes, or that of one with the same numbers."""
    by_columns = array.ndim == 2 and abs(array.strides[0]) < abs(array.strides[1])
    rows = np.ascontiguousarray(array.T if by_columns else array)
    numbers = hashlib.sha256(rows.data)
    numbers.update(f"{by_columns} {rows.dtype} {rows.shape}".encode())
    name = known.setdefault(numbers.digest(), at + ".T" * by_columns)
    tensors[name] = rows
    return name


class _Reader:
    """Values from JSON and tensors, each of the type of its field; GentleError for all else."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self._tensors = tensors
        self._unused = set(tensors)
        self._lengths = {"k": 1}

    def record(self, given: Any, kinds: Sequence[type], at: str) -> Any:
        """One of these dataclasses, with exactly its fields."""
        if not isinstance(given, dict):
            raise _wrong(at, "a record")
        names = {kind.__name__: kind for kind in kinds}
        kind = names.get(str(given.get("kind")))
        if kind is None:
            raise _wrong(at, f"of the kind {' or '.join(names)}")
        hints = _hints(kind)
        if set(given) != {"kind", *hints}:
            raise _wrong(at, f"with the fields {', '.join(hints)}, and no others")
        return kind(
            **{
                name: self.value(given[name], hint, f"{at}.{name}".lstrip("."))
                for name, hint in hints.items()
            }
        )

    def value(self, given: Any, hint: Any, at: str) -> Any:
        """A value of a type."""
        origin, inner = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            kinds = [kind for kind in inner if kind is not type(None)]
            if given is None and len(kinds) < len(inner):
                return None
            return (
                self.value(given, kinds[0], at)
                if len(kinds) == 1
                else self.record(given, kinds, at)
            )
        if hint is Design:
            return Design.from_state(given)
        if is_dataclass(hint):
            return self.record(given, (hint,), at)  # type: ignore[arg-type]
        if origin is np.ndarray:
            return self.array(given, get_args(inner[1])[0], at)
        if origin is tuple:
            return self.several(given, inner[0], at)
        if origin is Mapping:
            if not isinstance(given, dict):
                raise _wrong(at, "a mapping")
            return {name: self.value(it, inner[1], at) for name, it in given.items()}
        return _plain(given, inner if origin is Literal else hint, at)

    def several(self, given: Any, kind: Any, at: str) -> tuple[Any, ...]:
        """A tuple; of numbers, where there are any, as a tensor."""
        if isinstance(given, str) and kind in (int, float):
            dtype = np.int64 if kind is int else np.float64
            return tuple(map(kind, self.tensor(given, dtype, 1, at)))
        if not isinstance(given, list):
            raise _wrong(at, "a list")
        return tuple(self.value(it, kind, f"{at}.{place}") for place, it in enumerate(given))

    def array(self, given: Any, dtype: type, at: str) -> Array:
        """An array of the shape that the others allow."""
        place = re.sub(r"\.\d+", ".*", at).removeprefix("fits.*.")
        for again, first in ALIKE.items():
            place = place.replace(again, first, 1)
        if place not in SHAPES:
            raise _wrong(at, "null")
        letters = SHAPES[place].removesuffix("?")
        found = self.tensor(given, dtype, len(letters), at)
        for letter, length in zip(letters, found.shape, strict=True):
            if self._lengths.setdefault(letter, length) != length:
                raise _wrong(at, f"as long as other parts of the model, {self._lengths[letter]:,}")
        if letters == SHAPES[place] and not np.isfinite(found).all():
            raise _wrong(at, "finite")
        return found

    def tensor(self, name: Any, dtype: type, n_dims: int, at: str) -> Array:
        """A tensor by its name, as its array lay."""
        if not isinstance(name, str) or name not in self._tensors:
            raise _wrong(at, "the name of one of its tensors")
        self._unused.discard(name)
        rows = self._tensors[name]
        if rows.dtype != dtype or rows.ndim != n_dims:
            raise _wrong(at, f"{np.dtype(dtype).name} in {n_dims} dimensions")
        return rows.T if name.endswith(".T") else rows

    def refuse_other_lengths(self, q: int, p: int) -> None:
        """Raises GentleError where an array is longer or shorter than so many names ask for."""
        for letter, length in {"q": q, "p": p, "z": p + 1, "r": p + 2}.items():
            if self._lengths.get(letter, length) != length:
                raise _wrong("arrays", f"as long as {q:,} coefficients ask for")

    def refuse_unused(self) -> None:
        """Raises GentleError for a tensor that nothing names."""
        if self._unused:
            raise GentleError(f"its tensor '{min(self._unused)}' belongs to nothing")


def _wrong(at: str, needed: str) -> GentleError:
    """What is said of a part that is not what it must be."""
    return GentleError(f"its {at or 'model'} must be {needed}")


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """Field -> type of a dataclass."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _plain(given: Any, hint: Any, at: str) -> Any:
    """A number, a truth, a text, or one of a few texts."""
    if isinstance(hint, tuple):
        if given not in hint:
            raise _wrong(at, " or ".join(map(repr, hint)))
        return given
    if hint is float and given in ("nan", "inf", "-inf"):
        return float(given)
    if hint is float and isinstance(given, int | float) and not isinstance(given, bool):
        if isinstance(given, float) or abs(given) < MOST_WHOLE:
            return float(given)
    elif type(given) is hint and not (hint is int and abs(given) >= MOST_WHOLE):
        return given
    raise _wrong(at, f"a value of type {hint.__name__}")


def _refuse_inconsistent(model: Fit | Descended | OnePass) -> None:
    """Raises GentleError for parts that do not belong together."""
    design = model.design
    if model.names != (INTERCEPT,) * design.intercept + design.names:
        raise _wrong("names", "those of its design")
    if model.target not in design.targets:
        raise _wrong("target", "one of its design")
    tally = model.tally
    counts = (tally.n_weightless, *tally.missing.values(), *tally.filled.values())
    if min(counts) < 0 or not 0 <= tally.n_used <= tally.n_read:
        raise _wrong("tally", "counts of rows")
    if isinstance(model, Fit):
        _refuse_inconsistent_fit(model)


def _refuse_inconsistent_fit(fit: Fit) -> None:
    first, q = int(fit.design.intercept), len(fit.names)
    answer, placing = fit.answer, fit.placing
    columns = answer.fitted.columns
    units = answer.problem.coordinates
    if not (answer.fitted.intercept == units.intercept == fit.design.intercept):
        raise _wrong("answer", "with a constant where its design has one")
    if placing.n_all != q or not _places(placing.kept, q):
        raise _wrong("placing.kept", f"places among {q:,} coefficients, in order")
    if not np.array_equal(placing.kept, [*range(first), *(columns + first)]):
        raise _wrong("answer.fitted.columns", "those of the coefficients that are kept")
    if units.columns is None or not np.array_equal(units.columns, columns):
        raise _wrong(
            "answer.problem.coordinates.columns", "those of the coefficients that are kept"
        )
    for relation in answer.problem.dependent:
        if not _places(np.array(sorted({relation.column, *relation.on})), q - first):
            raise _wrong("answer.problem.dependent", f"places among {q - first:,} columns")
        if not len(relation.on) == len(relation.slopes) == len(relation.shares):
            raise _wrong("answer.problem.dependent", "with a slope and a share for each column")
    for name, triangle in (
        ("problem.factor", answer.problem.factor),
        ("fitted.root", answer.fitted.root),
    ):
        if not np.diag(triangle).all():
            raise _wrong(f"answer.{name}", "without a zero on its diagonal")
    if not (answer.n_rows > 0 and answer.total > 0 and math.isfinite(answer.n_rows + answer.total)):
        raise _wrong("answer.problem", "of some rows")
    if fit.held_out is not None and len(fit.held_out.spread.shift) != bool(fit.held_out.total):
        raise _wrong("held_out.spread", "of one target")


def _places(found: Integers, n: int) -> bool:
    """Whether these are places among n, in order."""
    return bool((np.diff(found) > 0).all() and (found >= 0).all() and (found < n).all())
