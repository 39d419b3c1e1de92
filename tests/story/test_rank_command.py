"""The rank rule from the command line."""

import numpy as np
import polars as pl


def test_the_tolerance_of_the_rank_rule_is_an_option(gentle, tmp_path):
    rng = np.random.default_rng(0)
    one = rng.normal(size=60)
    frame = pl.DataFrame({"one": one, "near": one + 1e-4 * rng.normal(size=60)})
    frame.with_columns(y=one + rng.normal(size=60)).write_csv(tmp_path / "d.csv")
    done = gentle("fit", "d.csv", "--target", "y", "--exact", "--rank-tol", 1e-3)
    assert done.returncode == 0
    assert "left out" in done.stdout.lower() or "dropped" in done.stdout.lower(), done.stdout
    refused = gentle("fit", "d.csv", "--target", "y", "--rank-tol", 2)
    assert refused.returncode == 2
    assert "rank_tol" in refused.stderr
