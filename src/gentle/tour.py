"""The tour: a tutorial's first experiment with gradient descent, told from tensor to verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from gentle import textbook
from gentle.answering import least_squares
from gentle.batch import Floats
from gentle.certificate import Certificate, certify
from gentle.design import Rows, learn_design
from gentle.errors import GentleError, check_seed
from gentle.exact import Exact
from gentle.pictures import descent, loss, scatter, surface
from gentle.pictures.style import save
from gentle.report.page import write_page
from gentle.sources import Arrays
from gentle.story import Story
from gentle.textbook import Step, mean_squared_error
from gentle.verdict import Cause, Verdict, verdict

BOUND = 14.0  # true and arbitrary coefficients are uniform on (-BOUND, BOUND)
REACH = 1.15  # the first column is uniform on (-REACH, REACH)
TRAIN = 0.75
EVERY = 5  # steps between two lines of progress
FEWEST_ROWS = 12
MOST_ROWS = 10_000_000
MOST_NOISE = 1e6
GROWTH = 1e6  # times the first loss: by then it is plain that a descent runs away
FARTHEST = 1e100  # the largest loss that a further step starts from
RUNAWAY_STEPS = 100
WIDE = 1e4  # losses from here on are shown with an exponent, so that their column keeps its width
MOST_POINTS_OF_PATH = 400  # points of the path that are drawn
TOLERANCE = 1e-3  # standard errors

Watch = Callable[[Step], None]


@dataclass(frozen=True)
class Options:
    """What a tour may be told to do otherwise.

    Raises GentleError for a value that makes no experiment.
    """

    rows: int = 10_000
    seed: int = 8  # its arbitrary model is far from the truth, which makes a story
    learning_rate: float = 0.1
    iterations: int = 1_000
    batch_size: int | None = None  # None: every step sees all rows
    noise: float = 1 / 3
    schedule: str = "constant"  # or 1/t: of the learning rate, with a batch size

    @property
    def stochastic(self) -> bool:
        """Whether a step sees only some of the train rows."""
        return self.batch_size is not None and self.batch_size < round(TRAIN * self.rows)

    def __post_init__(self) -> None:
        if not FEWEST_ROWS <= self.rows <= MOST_ROWS:
            raise GentleError(
                f"a tour takes {FEWEST_ROWS} to {MOST_ROWS:,} rows, and was given {self.rows:,}"
            )
        check_seed(self.seed)
        if self.iterations < 1:
            raise GentleError(f"iterations must be 1 or more, and is {self.iterations}")
        if self.batch_size is not None and self.batch_size < 1:
            raise GentleError(f"the batch size must be 1 or more, and is {self.batch_size}")
        if not 0 <= self.noise <= MOST_NOISE:
            raise GentleError(f"the noise must be from 0 to {MOST_NOISE:g}, and is {self.noise}")
        if self.schedule not in get_args(textbook.Schedule):
            raise GentleError(f"schedule must be 'constant' or '1/t', and is {self.schedule!r}")
        if self.schedule != "constant" and self.batch_size is None:
            raise GentleError(
                f"the schedule '{self.schedule}' belongs to steps that see some of the rows: add "
                "--batch-size 64, or leave it out"
            )
        if not 0 < self.learning_rate < float("inf"):
            raise GentleError(
                f"the learning rate must be a number above 0, and is {self.learning_rate}"
            )


@dataclass(frozen=True, eq=False)
class Toy:
    """Rows that were made up, so that the truth about them is known."""

    data: Tensor  # (n, 2): x and ones
    target: Tensor  # (n,)
    actual: Tensor  # (2,)

    @property
    def x(self) -> Floats:
        return self.data[:, 0].numpy()

    @property
    def y(self) -> Floats:
        return self.target.numpy()

    def __getitem__(self, rows: slice) -> Toy:
        return Toy(self.data[rows], self.target[rows], self.actual)

    def __len__(self) -> int:
        return len(self.data)


@dataclass(frozen=True, eq=False)
class Ending:
    """What the tour arrives at."""

    descent: Tensor  # (2,)
    exact: Tensor  # (2,)
    train_error: float
    test_error: float
    certificate: Certificate
    verdict: Verdict
    steps: int


def tour(options: Options, story: Story, folder: Path | None = None) -> Ending:
    """Tell the whole experiment; with a folder, with pictures and a page in it."""
    draw = _Pictures(story, folder)
    generator = torch.Generator().manual_seed(options.seed)
    _tensors(story)
    toy = _toy_data(options, story, generator)
    train, test = _split(toy, story, draw)
    _score(story)
    arbitrary = _arbitrary_model(train, story, draw, generator)
    _parameter(arbitrary, story)
    options = _stable(train, arbitrary, options, story, draw)
    parameter, trace = _loop(train, arbitrary, options, story, draw)
    test_error = _test(parameter, test, options, story, draw)
    ending = _normal_equation(train, arbitrary, parameter, trace, test_error, options, story, draw)
    if folder is not None:
        note = (
            f"{options.rows:,} rows, seed {options.seed}, learning rate {options.learning_rate:g}. "
            "Made by the command gentle tour."
        )
        title = "Gradient descent, from the first tensor to the last check"
        write_page(story.parts, folder, folder / "index.html", title=title, note=note)
    return ending


def _tensors(story: Story) -> None:
    story.title("Tensors that remember where they came from")
    story.text(
        "A tensor is an array that can keep a record of what was computed from it. Here is one of "
        "shape (3, 2), and a second one made of it; the grad_fn says by which operation."
    )
    x = torch.full((3, 2), -1.0, requires_grad=True)
    z = 2 * x * x
    w = z.mean()
    story.output(f"x = torch.full((3, 2), -1.0, requires_grad=True)\n{x}")
    story.output(f"z = 2 * x * x\n{z}")
    story.text("From z comes a single number, and from that number backward() finds the gradient.")
    story.output(f"w = z.mean()\n{w!r}")
    w.backward()
    story.output(f"w.backward(); x.grad\n{x.grad}")
    story.text(
        "Each entry is dw/dx = 4x / 6 = -2/3. Now the trap: backward() adds to the gradient that is "
        "there. After two more of them every entry is -2, three times what it should be. A loop "
        "that forgets to zero its gradient walks on the sum of all its past."
    )
    for _ in range(2):
        (2 * x * x).mean().backward()
    story.output(f"# z and w computed again, backward() again, twice\nx.grad\n{x.grad}")


def _toy_data(options: Options, story: Story, generator: torch.Generator) -> Toy:
    story.title("Toy data, whose truth is known")
    actual = _uniform(2, BOUND, generator)
    x = _uniform(options.rows, REACH, generator)
    data = torch.stack([x, torch.ones_like(x)], dim=1)
    noise = torch.randn(options.rows, generator=generator, dtype=torch.float64) * options.noise
    target = data @ actual + noise
    story.text(
        f"X has {options.rows:,} rows and two columns: the first uniform on (-{REACH}, {REACH}), the "
        f"second all ones, for the constant. The true coefficients are uniform on (-{BOUND:g}, "
        f"{BOUND:g}), and y = X @ actual plus normal noise of standard deviation "
        f"{options.noise:.4g}. In float64, so that what is left at the end is the descent's doing "
        "and not the number format's."
    )
    story.output(f"X.shape = {tuple(data.shape)}\nactual  = {actual}")
    return Toy(data, target, actual)


def _split(toy: Toy, story: Story, draw: _Pictures) -> tuple[Toy, Toy]:
    story.title("Train and test")
    n_train = round(TRAIN * len(toy))
    train, test = toy[:n_train], toy[n_train:]
    story.text(
        f"The first {TRAIN:.0%} of the rows are for learning, the rest are kept for the test, in "
        "order. That is fair here because the rows are independent of each other; rows that are "
        "sorted, or that follow each other in time, need more care."
    )
    story.output(f"train: {len(train):,} rows\ntest:  {len(test):,} rows")
    draw.scatter("train-data.png", "The train data.", train, title="Train data")
    return train, test


def _score(story: Story) -> None:
    story.title("The score")
    story.text(
        "A model is as good as its mean squared error: the mean of (prediction - y)^2. (One meets "
        "the name 'mean standard error' for it. It is no standard error: that is what the last "
        "chapter measures the coefficients with.)"
    )


def _arbitrary_model(
    train: Toy, story: Story, draw: _Pictures, generator: torch.Generator
) -> Tensor:
    story.title("An arbitrary model, to begin with")
    model = _uniform(2, BOUND, generator)
    error = _error(model, train)
    story.text(
        f"Coefficients drawn at random from (-{BOUND:g}, {BOUND:g}) know nothing of the data yet. "
        "This is how wrong they are."
    )
    story.output(f"model = {model}\ntrain error = {error:.4f}")
    draw.scatter(
        "arbitrary-model.png",
        f"An arbitrary model: mean squared error {error:.1f}.",
        train,
        model,
        title="An arbitrary model",
    )
    return model


def _parameter(model: Tensor, story: Story) -> None:
    story.title("The model as a parameter")
    story.text(
        "Wrapped as a Parameter the coefficients ask for gradients by themselves: this is what a "
        "descent can move."
    )
    parameter = Parameter(model.clone())
    story.output(f"torch.nn.Parameter(model)\n{parameter}")
    story.output(f"parameter.requires_grad = {parameter.requires_grad}")


def _stable(train: Toy, start: Tensor, options: Options, story: Story, draw: _Pictures) -> Options:
    """The options, with a learning rate that arrives; one that runs away is shown first."""
    size = options.batch_size if options.stochastic else None
    limit = textbook.largest_stable_rate(train.data, size)
    rate = options.learning_rate
    if rate <= limit:
        return options
    story.title("A learning rate that is too large")
    trace = _run_away(train, start, options, _Lines(story, every=1))
    rows = "" if size is None else f" in minibatches of {size:,}"
    story.text(
        f"With a learning rate of {rate:g} the loss grows. Each step overshoots the minimum by more than "
        "the distance that it had to go. The largest stable learning rate for these rows"
        f"{rows} is {limit:.4g}: it is 1 / the largest eigenvalue of X'X/n"
        + (", and less for minibatches. " if size else ". ")
        + f"The tour goes on with half of it, {limit / 2:.4g}."
    )
    draw.divergence(trace, _error(textbook.normal_equation(train.data, train.target), train))
    return replace(options, learning_rate=limit / 2)


def _run_away(train: Toy, start: Tensor, options: Options, watch: Watch) -> list[Step]:
    """Steps at a learning rate that is too large, until it shows; far from where numbers end."""
    parameter = Parameter(start.clone())
    n, size = len(train), options.batch_size if options.stochastic else None
    generator = torch.Generator().manual_seed(options.seed)
    most = GROWTH * max(_error(start, train), 1.0)
    trace: list[Step] = []
    for number in range(1, RUNAWAY_STEPS + 1):
        rows = torch.arange(n) if size is None else torch.randperm(n, generator=generator)[:size]
        loss = textbook.step(parameter, train.data[rows], train.target[rows], options.learning_rate)
        trace.append(Step(number, loss, parameter.detach().clone()))
        watch(trace[-1])
        error = _error(parameter.detach(), train)
        if not error <= (most if number > 1 else FARTHEST):
            break
    return trace


def _loop(
    train: Toy, start: Tensor, options: Options, story: Story, draw: _Pictures
) -> tuple[Parameter, list[Step]]:
    story.title("The loop")
    story.text(
        "Predictions, loss, backward, a step downhill in place and outside the record, and a clean "
        "gradient for the next round. This is all of it; it stands in gentle.textbook."
    )
    story.output(LOOP)
    size = options.batch_size
    if not options.stochastic:
        story.text(
            "Each step looks at every row, so nothing is random about it: this is gradient descent. "
            "Shuffled minibatches would make it stochastic: --batch-size 64 shows that."
        )
    else:
        story.text(
            f"Each step looks at {size:,} shuffled rows only: its gradient is a guess, right on "
            "average, and its loss is that of those rows. That is what makes the descent stochastic."
        )
    parameter, trace = _descend(train, start, options, _Lines(story))
    story.text(_ending_of(trace, options))
    story.output(f"parameter = {parameter.detach()}\nactual    = {train.actual}")
    draw.descent(train, start, trace)
    return parameter, trace


def _descend(
    train: Toy, start: Tensor, options: Options, watch: Watch
) -> tuple[Parameter, list[Step]]:
    size = options.batch_size
    if size is None or not options.stochastic:
        return textbook.descend(
            train.data,
            train.target,
            options.learning_rate,
            options.iterations,
            start=start,
            watch=watch,
        )
    epochs = max(1, round(options.iterations * size / len(train)))
    return textbook.sgd(
        train.data,
        train.target,
        options.learning_rate,
        epochs,
        size,
        options.seed,
        schedule="1/t" if options.schedule == "1/t" else "constant",
        start=start,
        watch=watch,
    )


class _Lines:
    """Tells a line of progress every few steps."""

    def __init__(self, story: Story, every: int = EVERY) -> None:
        self._story, self._every = story, every
        self._last: float | None = None

    def __call__(self, step: Step) -> None:
        if step.number != 1 and step.number % self._every:
            return
        loss = f"{step.loss:15.10f}" if step.loss < WIDE else f"{step.loss:15.9e}"
        line = f"step {step.number:>5,}   mean squared error {loss}"
        if self._last is not None:
            change = self._last - step.loss
            line += f"   {'fell' if change >= 0 else 'rose'} by {abs(change):.2e}"
        self._story.output(line)
        self._last = step.loss


def _ending_of(trace: list[Step], options: Options) -> str:
    last = trace[-1]
    if options.stochastic and options.schedule == "1/t":
        return (
            f"After {last.number:,} steps of {options.batch_size:,} rows the passes are over. The learning "
            "rate fell as 1/t, so that the parameter settles although the loss of minibatches jumps."
        )
    if options.stochastic:
        return (
            f"After {last.number:,} steps of {options.batch_size:,} rows the passes are over. The loss "
            "still jumps from minibatch to minibatch: at a constant rate it always will."
        )
    if last.number < options.iterations:
        return f"At step {last.number:,} the loop stops: {last.stop}."
    return f"The loop ends with its last step, {last.number:,}; the coefficients were still moving."


def _test(
    parameter: Parameter, test: Toy, options: Options, story: Story, draw: _Pictures
) -> float:
    story.title("The test")
    model = parameter.detach()
    error = _error(model, test)
    story.text(
        "On rows that the descent has never seen, the error should be near the variance of the "
        f"noise, {options.noise**2:.4f}: what no model can explain."
    )
    story.output(f"test error = {error:.4f}")
    draw.scatter(
        "test-fit.png",
        f"The test set and the fitted line: mean squared error {error:.4f}.",
        test,
        model,
        title="The fit, on rows it has not seen",
    )
    return error


def _normal_equation(
    train: Toy,
    start: Tensor,
    parameter: Parameter,
    trace: list[Step],
    test_error: float,
    options: Options,
    story: Story,
    draw: _Pictures,
) -> Ending:
    story.title("The check: the normal equation")
    story.text(
        "The minimum of the mean squared error is also known exactly: it solves X'X b = X'y. So the "
        "descent can be held against it, coefficient by coefficient, and the yardstick is the "
        "standard error: how far the exact answer itself would move on other rows of the same kind."
    )
    found = parameter.detach()
    exact = textbook.normal_equation(train.data, train.target)
    answer = _exact(train)
    certificate = certify(answer, found.flip(0).double().numpy())  # the constant first
    ruling = verdict(certificate, ("the constant", "the slope"), TOLERANCE, _cause(trace, options))
    std_errors = (np.sqrt(answer.sigma2[0]) * answer.lengths)[::-1]
    story.output(_table(found, exact, std_errors, train.actual))
    story.text(str(ruling))
    draw.loss(trace, float(_error(exact, train)), options)
    draw.surface(train, start, trace, exact)
    train_error = _error(found, train)
    return Ending(found, exact, train_error, test_error, certificate, ruling, len(trace))


def _exact(train: Toy) -> Exact:
    """The least-squares answer for the train rows, by the house's own exact way."""
    source = Arrays(train.x[:, None], ("x",), {"y": train.y}, name="the toy data")
    rows = Rows(source, learn_design(source, targets=("y",)))
    return least_squares(rows)


def _cause(trace: list[Step], options: Options) -> Cause:
    if options.stochastic and options.schedule == "constant":
        return "wandering"
    if options.stochastic:
        return "not converged"
    return "not converged" if len(trace) == options.iterations else "flat"


def _table(found: Tensor, exact: Tensor, std_errors: Floats, actual: Tensor) -> str:
    lines = [f"{'':10}{'slope':>18}{'constant':>18}"]
    rows = {
        "descent": found.tolist(),
        "exact": exact.tolist(),
        "std. error": list(std_errors),
        "truth": actual.tolist(),
    }
    for name, values in rows.items():
        lines.append(f"{name:10}" + "".join(f"{value:>18.12f}" for value in values))
    return "\n".join(lines)


def _uniform(n: int, bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(n, generator=generator, dtype=torch.float64) * 2 - 1) * bound


def _error(model: Tensor, toy: Toy) -> float:
    return mean_squared_error(toy.data @ model, toy.target).item()


class _Pictures:
    """Draws into a folder and tells the story of it; without a folder there are no pictures."""

    def __init__(self, story: Story, folder: Path | None) -> None:
        self._story = story
        self._folder = folder

    def scatter(
        self, file: str, caption: str, toy: Toy, model: Tensor | None = None, *, title: str
    ) -> None:
        if self._folder is not None:
            line = None if model is None else (float(model[0]), float(model[1]))
            save(scatter.scatter(toy.x, toy.y, line=line, title=title), self._folder / file)
            self._story.picture(file, caption)

    def descent(self, train: Toy, start: Tensor, trace: list[Step]) -> None:
        if self._folder is not None:
            path = [(0, start.numpy()), *((step.number, step.coef.numpy()) for step in trace)]
            save(descent.snapshots(train.x, train.y, path), self._folder / "descent.png")
            self._story.picture("descent.png", "The descent in six snapshots.")
            descent.animate(train.x, train.y, path, self._folder / "descent.gif")
            self._story.picture("descent.gif", "The same, as it moves.")

    def loss(self, trace: list[Step], least: float, options: Options) -> None:
        if self._folder is not None:
            steps = np.array([step.number for step in trace])
            losses = np.array([step.loss for step in trace])
            of = "each minibatch" if options.stochastic else "all train rows"
            save(loss.loss_curve(steps, losses, least, of), self._folder / "loss.png")
            self._story.picture("loss.png", "Loss against step, both on logarithmic scales.")

    def divergence(self, trace: list[Step], least: float) -> None:
        if self._folder is not None:
            steps = np.array([step.number for step in trace])
            losses = np.array([step.loss for step in trace])
            save(loss.loss_curve(steps, losses, least), self._folder / "divergence.png")
            self._story.picture("divergence.png", "The loss grows at a rate that is too large.")

    def surface(self, train: Toy, start: Tensor, trace: list[Step], exact: Tensor) -> None:
        if self._folder is not None:
            every = max(1, len(trace) // MOST_POINTS_OF_PATH)
            steps = [*trace[:-1:every], trace[-1]]
            path = np.stack([start.numpy(), *(step.coef.numpy() for step in steps)])
            hessian = (2 * train.data.T @ train.data / len(train)).numpy()
            figure = surface.surface(hessian, exact.numpy(), _error(exact, train), path)
            save(figure, self._folder / "surface.png")
            self._story.picture(
                "surface.png",
                "The mean squared error over both coefficients, the descent's path and the exact minimum.",
            )


LOOP = """\
predictions = data @ parameter
loss = mean_squared_error(predictions, target)
loss.backward()
with torch.no_grad():
    parameter -= learning_rate * parameter.grad
parameter.grad.zero_()  # backward adds to what is there"""
