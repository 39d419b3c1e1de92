"""The tour as a library: its chapters, its numbers, its pictures; and the tutorial's own loop."""

import re
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from gentle import GentleError, textbook
from gentle.story import Output, Picture, Story, Text, Title
from gentle.tour import Options, tour

CHAPTERS = [
    "Tensors that remember where they came from",
    "Toy data, whose truth is known",
    "Train and test",
    "The score",
    "An arbitrary model, to begin with",
    "The model as a parameter",
    "The loop",
    "The test",
    "The check: the normal equation",
]
PICTURES = {
    "train-data.png",
    "arbitrary-model.png",
    "descent.png",
    "descent.gif",
    "test-fit.png",
    "loss.png",
    "surface.png",
}


@pytest.fixture(scope="module")
def told():
    story = Story()
    return story, tour(Options(), story)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tour")
    story = Story()
    tour(Options(rows=400, iterations=60), story, folder)
    return story, folder


def outputs(story, chapter):
    """What is printed in a chapter."""
    found, at = [], None
    for part in story.parts:
        if isinstance(part, Title):
            at = part.title
        elif isinstance(part, Output) and at == chapter:
            found.append(part.text)
    return found


def test_there_are_nine_chapters_in_order(told):
    story, _ = told
    assert [part.title for part in story.parts if isinstance(part, Title)] == CHAPTERS


def test_tensors_and_their_gradients_are_printed_as_torch_has_them(told):
    x, z, w, once, thrice = outputs(told[0], CHAPTERS[0])
    assert x.count("-1.") == 7  # six of them and the code
    assert z.count("2., 2.") == 3
    assert "MulBackward0" in z
    assert "tensor(2." in w
    assert "MeanBackward0" in w
    assert once.count("-0.6667") == 6
    assert len(re.findall(r"-2\.(?!\d)", thrice)) == 6


def test_the_data_have_the_shape_that_was_asked_for(told):
    (shapes,) = outputs(told[0], CHAPTERS[1])
    assert "X.shape = (10000, 2)" in shapes
    assert "actual  = tensor(" in shapes
    (split,) = outputs(told[0], CHAPTERS[2])
    assert "7,500" in split
    assert "2,500" in split


def test_the_loop_shows_itself_and_its_progress(told):
    code, *lines = outputs(told[0], CHAPTERS[6])
    for word in ("backward()", "no_grad", "learning_rate", "grad.zero_()"):
        assert word in code
    losses = [
        float(found[1]) for found in map(re.compile(r"error +([\d.e+]+)").search, lines) if found
    ]
    assert len(losses) > 10
    assert losses == sorted(losses, reverse=True)


def test_the_printed_loop_is_the_loop(told):
    """The code that is shown makes the step that the textbook makes."""
    code = outputs(told[0], CHAPTERS[6])[0]
    data, target = toy(50)
    mine = torch.nn.Parameter(torch.zeros(2).double())
    names = {
        "data": data,
        "target": target,
        "parameter": mine,
        "learning_rate": 0.1,
        "torch": torch,
        "mean_squared_error": textbook.mean_squared_error,
    }
    for _ in range(3):
        exec(code, names)
    theirs, _ = textbook.descend(data, target, 0.1, 3)
    torch.testing.assert_close(mine, theirs)


def test_the_test_error_is_near_the_variance_of_the_noise(told):
    _, ending = told
    # a mean of 2,500 squares of N(0, 1/9): standard deviation 1/9 sqrt(2/2500)
    assert ending.test_error == pytest.approx(1 / 9, abs=5 / 9 * (2 / 2500) ** 0.5)
    assert ending.train_error == pytest.approx(1 / 9, abs=5 / 9 * (2 / 7500) ** 0.5)


def test_the_two_answers_agree(told):
    _, ending = told
    assert ending.certificate.in_se <= 1e-3
    assert ending.verdict.agrees
    torch.testing.assert_close(ending.descent, ending.exact, rtol=1e-5, atol=1e-5)
    assert any("std. error" in text for text in outputs(told[0], CHAPTERS[8]))


def test_a_seed_fixes_every_number():
    first, again, other = (Story() for _ in range(3))
    one = tour(Options(rows=300, seed=3), first)
    two = tour(Options(rows=300, seed=3), again)
    three = tour(Options(rows=300, seed=4), other)
    assert first.parts == again.parts
    assert torch.equal(one.descent, two.descent)
    assert not torch.equal(one.exact, three.exact)


def test_every_picture_is_an_image(drawn):
    story, folder = drawn
    told = {part.file for part in story.parts if isinstance(part, Picture)}
    assert told == PICTURES
    assert {path.name for path in folder.iterdir()} == PICTURES | {"index.html"}
    for name in told:
        with Image.open(folder / name) as image:
            image.load()
            assert min(image.size) >= 200
            assert len(image.convert("L").getcolors(256)) > 1  # something is drawn
    with Image.open(folder / "descent.gif") as film:
        assert film.n_frames > 3


class Links(HTMLParser):
    """Every address on a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.links, self.images, self.ids, self.tags = [], [], set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        for name, value in attributes:
            if name in ("src", "href", "srcset", "data", "action"):
                (self.images if tag == "img" else self.links).append(value)
            if name == "id":
                self.ids.add(value)
        if tag == "img":
            assert dict(attributes).get("alt")


def test_the_page_is_self_contained(drawn):
    page = (drawn[1] / "index.html").read_text(encoding="utf-8")
    found = Links(page)
    assert len(found.images) == len(PICTURES)
    assert all(image.startswith("data:image/") for image in found.images)
    assert all(link.startswith("#") and link[1:] in found.ids for link in found.links)
    assert not found.tags & {"script", "link", "iframe", "object", "embed"}
    assert "@import" not in page
    assert "url(" not in page
    for chapter in CHAPTERS:
        assert chapter in page


@pytest.mark.parametrize("seed", range(3))
def test_minibatches_wander_near_the_minimum(seed):
    story = Story()
    ending = tour(Options(rows=2_000, batch_size=64, seed=seed), story)
    assert (ending.descent - ending.exact).abs().max() < 0.2
    assert ending.verdict.cause in ("wandering", "agree")
    assert any("stochastic" in getattr(part, "text", "") for part in story.parts)


def test_a_batch_of_all_rows_is_the_descent_itself():
    whole = tour(Options(rows=200), Story())
    batch = tour(Options(rows=200, batch_size=10_000), Story())
    assert torch.equal(whole.descent, batch.descent)
    assert batch.verdict.cause == whole.verdict.cause


@pytest.mark.parametrize("batch_size", [None, 8])
@pytest.mark.parametrize("rate", [1.5, 3.0, 1e9, 1e300])
def test_a_rate_that_is_too_large_is_shown_to_run_away_and_the_largest_that_is_not(
    batch_size, rate, tmp_path
):
    options = {"rows": 400, "batch_size": batch_size, "iterations": 400}
    story = Story()
    folder = tmp_path if rate <= 3 else None
    ending = tour(Options(learning_rate=rate, **options), story, folder)
    (title,) = (
        part for part in story.parts if getattr(part, "title", "").startswith("A learning rate")
    )
    after = story.parts[story.parts.index(title) :]
    losses = [
        float(found[1])
        for part in after[: after.index(next(p for p in after if isinstance(p, Text)))]
        if (found := re.search(r"error +([\d.e+]+)", getattr(part, "text", "")))
    ]
    assert losses[-1] > losses[0] or rate == 1e300
    said = next(part.text for part in after if isinstance(part, Text))
    largest = float(re.search(r"for these rows.* is ([\d.]+):", said)[1])
    assert torch.isfinite(ending.descent).all()
    assert f"{largest / 2:.3g}" in said
    assert (folder is None) or (folder / "divergence.png").stat().st_size > 1_000
    ending = tour(Options(learning_rate=0.999 * largest, **options), quiet := Story())
    assert not any("A learning rate" in getattr(part, "title", "") for part in quiet.parts)
    assert torch.isfinite(ending.descent).all()


def test_a_falling_rate_settles_where_a_constant_one_fluctuates():
    data, target = toy(400)
    exact = textbook.normal_equation(data, target)
    apart = [
        (textbook.sgd(data, target, 0.1, 60, 8, schedule=schedule)[0].detach() - exact).abs().max()
        for schedule in ("constant", "1/t")
    ]
    assert apart[1] < apart[0] / 3
    ending = tour(Options(rows=400, batch_size=8, schedule="1/t"), Story())
    assert "wandering" not in ending.verdict.cause


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_descent_goes_on_while_its_type_shows_a_step_and_says_why_it_ends(dtype):
    """The example of the README, for several draws."""
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        x = torch.rand(1000, generator=generator, dtype=dtype)
        data = torch.stack([x, torch.ones(1000, dtype=dtype)], dim=1)
        target = 3 * x + 1 + torch.randn(1000, generator=generator, dtype=dtype) / 3
        exact = textbook.normal_equation(data.double(), target.double())
        parameter, trace = textbook.descend(data, target, 0.5, 20_000)
        rounding = torch.finfo(dtype).eps
        assert (parameter.detach() - exact).abs().max() < 1000 * rounding
        assert (
            trace[-1].stop
            == f"a step is now less than {str(dtype)[6:]} can add to the coefficients"
        )
        assert not any(step.stop for step in trace[:-1])
        _, few = textbook.descend(data, target, 0.5, 10)
        assert few[-1].stop == "after 10 iterations, as asked for"


def test_a_schedule_without_a_batch_size_is_refused_with_the_way_out():
    with pytest.raises(GentleError, match="--batch-size"):
        Options(schedule="1/t")


def test_the_progress_of_a_descent_that_runs_away_keeps_its_columns():
    story = Story()
    tour(Options(rows=200, learning_rate=1.5), story)
    lines = [part.text for part in story.parts if getattr(part, "text", "").startswith("step ")]
    assert (
        len({line.find("   fell") + line.find("   rose") for line in lines if " by " in line}) == 1
    )
    assert any("e+" in line.split("error")[1].split()[0] for line in lines)


WRONG = [
    *({"batch_size": size} for size in (0, -1, 2.5, True, "8", None)),
    *({"epochs": count} for count in (0, -1, 1.5, True, None)),
    *({"seed": seed} for seed in (-1, 1.5, "a")),
    *({"schedule": schedule} for schedule in ("2/t", None, 1)),
]
WRONG_BOTH = [
    *({"learning_rate": rate} for rate in (0, -1, float("nan"), float("inf"), None, "0.1", True)),
    *({"start": start} for start in (torch.zeros(3), [0, 0], torch.zeros(2), torch.ones(2, 1))),
    {"start": torch.tensor([0.0, float("nan")]).double()},
]


@pytest.mark.parametrize("options", WRONG + WRONG_BOTH, ids=str)
def test_every_argument_of_sgd_is_checked_with_a_sentence(options):
    with pytest.raises(GentleError, match=r"must be|batch_size|seed"):
        textbook.sgd(*toy(20), **options)


@pytest.mark.parametrize(
    "options",
    [*WRONG_BOTH, *({"iterations": count} for count in (0, -1, 1.5, True, None))],
    ids=str,
)
def test_every_argument_of_descend_is_checked_with_a_sentence(options):
    with pytest.raises(GentleError, match="must be"):
        textbook.descend(*toy(20), **options)


@pytest.mark.parametrize("of", [textbook.descend, textbook.sgd, textbook.normal_equation])
def test_rows_are_checked_with_a_sentence(of):
    data, target = toy(20)
    bad = data.clone()
    bad[3, 0] = float("nan")
    for wrong in (
        *((bad, target), (data, target * float("inf")), (data.int(), target)),
        *((data.float(), target), (data[:0], target[:0]), (data.numpy(), target), (data, [1.0])),
    ):
        with pytest.raises(GentleError, match="must"):
            of(*wrong)


def test_a_singular_normal_equation_is_said():
    with pytest.raises(GentleError, match="combination of the others"):
        textbook.normal_equation(torch.ones(5, 2).double(), torch.ones(5).double())


def test_without_noise_the_truth_is_found():
    story = Story()
    ending = tour(Options(rows=200, noise=0.0, iterations=5_000), story)
    assert ending.test_error < 1e-20
    assert ending.certificate.unit == "relative"
    truth = re.search(r"truth +(\S+) +(\S+)", outputs(story, CHAPTERS[8])[0])
    actual = torch.tensor([float(truth[1]), float(truth[2])], dtype=torch.float64)
    torch.testing.assert_close(ending.exact, actual, rtol=0, atol=1e-9)


def test_a_descent_that_is_cut_short_says_so():
    ending = tour(Options(rows=400, iterations=5), Story())
    assert ending.steps == 5
    assert ending.verdict.cause == "not converged"
    assert not ending.verdict.agrees
    assert "stopped before" in str(ending.verdict)


@pytest.mark.parametrize(
    "options",
    [
        {"rows": 0},
        {"rows": 11},
        {"iterations": 0},
        {"batch_size": 0},
        {"noise": -0.1},
        {"noise": float("nan")},
        {"learning_rate": 0.0},
        {"learning_rate": float("inf")},
        {"learning_rate": float("nan")},
    ],
)
def test_what_makes_no_experiment_is_refused(options):
    with pytest.raises(GentleError):
        Options(**options)


# --- the tutorial's own loop ------------------------------------------------------------------


def toy(n=500, seed=0, noise=0.3):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, generator=generator).double()
    data = torch.stack([x, torch.ones(n).double()], dim=1)
    return data, 2 * x - 1 + noise * torch.randn(n, generator=generator).double()


def test_descend_returns_a_parameter_and_its_trace():
    data, target = toy()
    parameter, trace = textbook.descend(data, target, 0.1, 2_000)
    assert isinstance(parameter, torch.nn.Parameter)
    torch.testing.assert_close(
        parameter.detach(), textbook.normal_equation(data, target), rtol=1e-7, atol=1e-7
    )
    assert [step.number for step in trace] == list(range(1, len(trace) + 1))
    assert torch.equal(trace[-1].coef, parameter.detach())
    assert trace[0].loss == pytest.approx(target.square().mean().item())
    assert trace[-1].loss == pytest.approx(
        textbook.mean_squared_error(data @ parameter, target).item(), rel=1e-9
    )


def test_sgd_is_the_same_for_the_same_seed():
    data, target = toy()
    one, two, other = (textbook.sgd(data, target, 0.05, seed=s)[0] for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert len(textbook.sgd(data, target, 0.05, epochs=3, batch_size=100)[1]) == 15


@pytest.mark.parametrize("descent", [textbook.descend, textbook.sgd])
def test_a_target_with_a_column_of_its_own_is_refused(descent):
    data, target = toy(20)
    for wrong in (target[:, None], target[:-1], target.reshape(4, 5)):
        with pytest.raises(GentleError, match="shape"):
            descent(data, wrong)
    with pytest.raises(GentleError, match="shape"):
        descent(data[:, 0], target)


def test_descend_leaves_its_start_alone():
    data, target = toy()
    start = torch.tensor([5.0, 5.0]).double()
    textbook.descend(data, target, 0.1, 3, start=start)
    assert start.tolist() == [5.0, 5.0]


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_the_largest_rate_of_whole_passes_is_one_over_the_largest_eigenvalue(shift):
    data, _ = toy()
    data = data + torch.tensor([shift, 0.0]).double()
    largest = torch.linalg.eigvalsh(data.T @ data / len(data))[-1].item()
    assert textbook.largest_stable_rate(data) == pytest.approx(1 / largest, rel=1e-9)
    assert textbook.largest_stable_rate(data, len(data)) == pytest.approx(1 / largest, rel=1e-9)


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_a_descent_above_the_largest_rate_runs_away_and_below_it_arrives(shift):
    data, target = toy()
    data = data + torch.tensor([shift, 0.0]).double()
    limit = textbook.largest_stable_rate(data)
    with pytest.raises(GentleError, match="largest stable"):
        textbook.descend(data, target, limit * 1.0001)
    textbook.descend(data, target, limit * 0.9999, 10)
    for factor, arrives in ((1.01, False), (0.99, True)):
        parameter = torch.nn.Parameter(torch.zeros(2).double())
        for _ in range(5_000):
            textbook.step(parameter, data, target, factor * limit)
        error = (parameter.detach() - textbook.normal_equation(data, target)).abs().max()
        assert bool(error < 1e-3) == arrives


@pytest.mark.parametrize("batch_size", [1, 2, 8, 64])
def test_the_largest_rate_of_minibatches_is_where_the_mean_square_stops_falling(batch_size):
    """Minibatches without replacement, drawn anew at every step, of the error alone."""
    data, _ = toy(100, seed=3)
    limit = textbook.largest_stable_rate(data, batch_size)
    for factor, falls in ((1.5, False), (0.5, True)):
        generator = torch.Generator().manual_seed(1)
        errors = torch.randn(4_000, 2, generator=generator).double()
        before = errors.square().sum(dim=1).mean()
        ratios = []
        for _ in range(12):
            order = torch.rand(len(errors), len(data), generator=generator).argsort(dim=1)
            rows = data[order[:, :batch_size]]  # (paths, B, 2)
            residual = torch.einsum("rbp,rp->rb", rows, errors)
            errors = (
                errors
                - factor * limit * 2 * torch.einsum("rbp,rb->rp", rows, residual) / batch_size
            )
            after = errors.square().sum(dim=1).mean()
            ratios.append((after / before).item())
            before = after
            # paths are drawn anew in proportion to nothing: a common factor keeps them in range
            errors /= before.sqrt()
            before = torch.ones(()).double()
        growth = sum(map(torch.log, map(torch.tensor, ratios[4:]))) / len(ratios[4:])
        assert bool(growth < 0) == falls


def test_smaller_minibatches_bear_smaller_rates():
    data, _ = toy(200)
    rates = [textbook.largest_stable_rate(data, size) for size in (1, 2, 4, 16, 64, 200)]
    assert rates == sorted(rates)
