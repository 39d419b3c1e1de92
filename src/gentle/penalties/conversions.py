"""The strength of a ridge in other libraries' conventions, and in ours.

gentle minimises, over rows of weight w_i with W = sum_i w_i,

    F(b) = 1/(2W) sum_i w_i (y_i - x_i'b)^2 + l2/2 sum_j b_j^2,    the constant not penalised.

Another library's objective has the same minimiser where it is a multiple of F. The l2 of a given
strength may then depend on the rows by one number: their mass W, or the spread of the target,
s = sqrt(sum_i w_i (y_i - m)^2 / W) with m its weighted mean.

What a library penalises must be what gentle penalises: the slopes of the columns as they are, all
alike, and not the constant. R's glmnet and Spark by default penalise the slopes of columns divided by
their standard deviations s_j. For the columns as they are, that is the penalty l2/2 sum_j s_j^2 b_j^2,
which no one l2 expresses: it is not converted. To have such a fit here, divide each column by its s_j,
convert as below, fit, and divide each slope by its s_j.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from gentle.errors import GentleError
from gentle.penalties.ridge import LARGEST, Ridge

MEASURES = {
    "mass": "the sum of the weights of the rows used (without weights, their number)",
    "spread": "the standard deviation of the target with 1/n (numpy's y.std(), not torch's)",
}


@dataclass(frozen=True)
class Convention:
    """How a library counts a ridge: l2 = factor * strength / measure, with 1 / strength if inverse.

    Both methods take the measures of the rows, mass = W and spread = s, and use the one that the
    convention depends on. They raise GentleError for a strength, an l2 or a measure that is none, and
    for a measure that is needed and not given.

    >>> SKLEARN.l2(10.0, mass=200)
    0.05
    >>> SKLEARN.strength(0.05, mass=200)
    10.0
    """

    name: str
    measure: Literal["mass", "spread"] | None
    factor: float = 1.0
    inverse: bool = False  # a strength that is small where the penalty is strong

    def l2(
        self, strength: float, *, mass: float | None = None, spread: float | None = None
    ) -> float:
        """The l2 whose ridge is the library's of this strength."""
        if self.inverse and not strength > 0:
            raise GentleError(f"{self.name} must be a number above 0, and is {strength}")
        if not self.inverse and not 0 <= strength < inf:
            raise GentleError(f"{self.name} must be a number from 0, and is {strength}")
        unit = self._unit(mass, spread)
        return Ridge(unit / strength if self.inverse else unit * strength).l2

    def strength(
        self, l2: float, *, mass: float | None = None, spread: float | None = None
    ) -> float:
        """The library's strength of the ridge l2; infinite where it is an inverse and l2 is 0."""
        l2 = Ridge(l2).l2
        unit = self._unit(mass, spread)
        if not self.inverse:
            return l2 / unit
        return unit / l2 if l2 else inf

    def _unit(self, mass: float | None, spread: float | None) -> float:
        """The l2 of strength 1."""
        if self.measure is None:
            return self.factor
        given = mass if self.measure == "mass" else spread
        meaning = MEASURES[self.measure]
        if given is None:
            raise GentleError(f"{self.name} depends on {meaning}: give it as {self.measure}=")
        if not 1 / LARGEST <= given <= LARGEST:
            raise GentleError(
                f"{self.measure}, {meaning}, must be a number from {1 / LARGEST:g} to {LARGEST:g}, "
                f"and is {given}"
            )
        return self.factor / float(given)


SKLEARN = Convention("the alpha of scikit-learn's Ridge", "mass")
"""sum_i w_i (y_i - x_i'b)^2 + alpha sum_j b_j^2, the constant not penalised.

w is the sample_weight as given, not scaled. Source: scikit-learn 1.9.1, docstring of
linear_model.Ridge; for the weights, _rescale_data in linear_model/_base.py.
"""

LOGISTIC = Convention("the C of scikit-learn's LogisticRegression", "mass", inverse=True)
"""C sum_i w_i loss(x_i'b, y_i) + 1/2 sum_j b_j^2, the constant not penalised.

The loss is minus the log-likelihood of a row; the conversion is that of any loss that gentle counts
likewise, for least squares (y - x'b)^2 / 2. w is sample_weight times class_weight. Not for
solver="liblinear" with a constant, which it penalises. Source: scikit-learn 1.9.1, User Guide,
"Logistic regression"; l2_reg_strength = 1 / (C * sw_sum) in linear_model/_logistic.py.
"""

LINEAR_SVR = Convention("the C of scikit-learn's LinearSVR", "mass", factor=0.5, inverse=True)
"""C sum_i w_i max(0, |y_i - x_i'b| - epsilon)^2 + 1/2 sum_j b_j^2, with epsilon=0, its default.

With loss="squared_epsilon_insensitive", which is the square and not its half: hence the factor. The
constant is penalised like a slope, so this assumes fit_intercept=False. Source: L2-loss support vector
regression in LIBLINEAR, Ho and Lin (2012), Large-scale linear support vector regression, JMLR 13,
3323-3348; scikit-learn 1.9.1, docstring of svm.LinearSVR.
"""

STATSMODELS = Convention("the alpha of statsmodels' fit_regularized", None)
"""1/(2W) sum_i w_i (y_i - x_i'b)^2 + alpha/2 sum_j b_j^2, of OLS (w = 1) and WLS with L1_wt=0.

A column of ones is penalised like any other: where there is one, this assumes that alpha is given as
an array with 0 in its place. Source: statsmodels 0.15.0, regression/linear_model.py: docstring of
OLS.fit_regularized, OLS._fit_ridge, and WLS.fit_regularized, which multiplies alpha by W/n.
"""

GLMNET = Convention("the lambda of R's glmnet", "spread")
"""1/(2W) sum_i w_i (y_i - x_i'b)^2 + lambda/(2s) sum_j b_j^2, the constant not penalised.

Of family="gaussian" with alpha=0; assumes standardize=FALSE, which is not the default. The manual has
no 1/s. glmnet fits y/s with the strength lambda/s and multiplies the slopes by s; that leaves the
lambda of a lasso in the units of y, and divides the lambda of a ridge by s. With intercept=FALSE, s is
taken about m = 0: sqrt(mean(y^2)). With family=gaussian(), the function, y is not scaled: spread=1.
With standardize=TRUE, s_j is the standard deviation of column j about its mean, with weights w/W.

Source: glmnet 4.1-6 in R 4.2.2, whose fits are these to 14 digits; the page of glmnet() in its manual,
Details ("standardizes y to have unit variance"); Standardize1 in
src/glmnetpp/include/glmnetpp_bits/elnet_driver/standardize.hpp, where a comment dates the m = 0 from
24 March 2020 (before, m was the mean); R/glmnetFlex.R for family=gaussian().
"""

SPARK = Convention("the regParam of Spark's LinearRegression", "spread")
"""1/(2W) sum_i w_i (y_i - x_i'b)^2 + regParam/(2s) sum_j b_j^2, the constant not penalised.

Of loss="squaredError" with elasticNetParam=0; assumes standardization=False, which is not the default.
The class's documentation has no 1/s. s is taken about the mean, also with fitIntercept=False. This is
the s of solver="normal", and of "auto" to 4096 columns; "l-bfgs" divides by W - sum_i w_i^2 / W in
place of W, which without weights is n - 1. With standardization=True, s_j is the standard deviation of
column j about its mean, by the same rule.

Source: Spark 4.0.0, whose fits are these to 14 digits (l-bfgs: to 7, where it stops); the comment on
class WeightedLeastSquares in ml/optim; effectiveRegParam in ml/regression/LinearRegression.scala.
"""

CONVENTIONS = (SKLEARN, LOGISTIC, LINEAR_SVR, STATSMODELS, GLMNET, SPARK)
