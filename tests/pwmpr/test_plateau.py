"""Known curves are recovered, growth stops when it should, and failures are said."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import curve_fit

from pwmpr.plateau import fit_plateau
from topograph.errors import TopographError


def curve(rho, p0, gain, beta):
    return p0 + gain * (1 - np.exp(-beta * np.asarray(rho)))


def grown(points, start=0.05, ratio=1.25):
    return start * ratio ** np.arange(points)


@given(
    st.floats(-50, 90), st.floats(0.5, 100), st.floats(1.0, 40), st.integers(6, 13), st.booleans()
)
def test_exact_curves_are_recovered(p0, gain, beta, points, by_gain):
    assume(p0 + gain > 1)
    rho = grown(points)
    fit = fit_plateau(rho, curve(rho, p0, gain, beta), "gain" if by_gain else "asymptote")
    assert fit.ok
    assert fit.points == points
    assert fit.beta == pytest.approx(beta, rel=1e-3)
    assert fit.asymptote == pytest.approx(p0 + gain, rel=1e-3)
    assert fit.predict(0.3) == pytest.approx(curve(0.3, p0, gain, beta), rel=1e-3, abs=1e-3)
    assert fit.r2 == pytest.approx(1, abs=1e-9)
    level = p0 + 0.95 * gain if by_gain else 0.95 * (p0 + gain)
    expected = max(0.0, -math.log((p0 + gain - level) / gain) / beta)
    assert fit.onset == pytest.approx(expected, rel=1e-3, abs=1e-4)
    if expected:
        assert fit.predict(fit.onset) == pytest.approx(level, rel=1e-3, abs=1e-2)
    inside = rho[0] <= fit.onset <= rho[-1]
    assert fit.stopped == inside


@pytest.mark.parametrize("seed", range(5))
def test_noisy_fit_is_the_least_squares_fit(seed):
    rng = np.random.default_rng(seed)
    rho = grown(11)
    accuracy = curve(rho, 60, 30, 8) + rng.normal(0, 0.5, rho.size)
    fit = fit_plateau(rho, accuracy)
    start = (fit.p0 + 1, fit.gain * 1.1, fit.beta * 0.9)
    best, _ = curve_fit(curve, rho, accuracy, p0=start, ftol=1e-14, xtol=1e-14)
    ours = np.sum((fit.predict(rho) - accuracy) ** 2)
    theirs = np.sum((curve(rho, *best) - accuracy) ** 2)
    assert ours <= theirs * (1 + 1e-9)
    assert (fit.p0, fit.gain, fit.beta) == pytest.approx(tuple(best), rel=1e-4)
    assert fit.r2 == pytest.approx(1 - ours / np.sum((accuracy - accuracy.mean()) ** 2))


def test_growth_stops_at_the_first_density_past_the_onset():
    # P0 + A = 90, so the onset is where 30 e^(-15 ρ) = 4.5: 0.1265.
    rho = grown(12)
    accuracy = curve(rho, 60, 30, 15)
    stops = [fit_plateau(rho[:k], accuracy[:k]).stopped for k in range(1, 13)]
    first = int(np.argmax(rho >= 0.1265)) + 1
    assert rho[first - 1] == pytest.approx(0.1526, abs=1e-4)
    assert stops == [k >= first for k in range(1, 13)]


def test_fewer_than_five_points_never_stop():
    rho = np.array([0.05, 0.2, 0.5, 0.9])
    fit = fit_plateau(rho, curve(rho, 60, 30, 15))
    assert fit.ok
    assert fit.onset < 0.9
    assert not fit.stopped
    assert "4 points" in fit.reason


def test_onset_outside_the_densities_seen_does_not_stop_growth():
    below = fit_plateau(grown(8), curve(grown(8), 60, 30, 50))
    assert below.ok
    assert not below.stopped
    assert "below the least seen" in below.reason
    beyond = fit_plateau(grown(8), curve(grown(8), 60, 30, 2))
    assert beyond.ok
    assert not beyond.stopped
    assert "beyond" in beyond.reason


def test_a_curve_that_starts_at_its_plateau_has_onset_zero():
    fit = fit_plateau(grown(8), curve(grown(8), 88, 2, 15))
    assert fit.ok
    assert fit.onset == 0
    assert not fit.stopped


def test_the_order_and_the_unit_of_the_points_do_not_matter():
    rho = grown(9)
    accuracy = curve(rho, 60, 30, 15) + np.random.default_rng(0).normal(0, 0.3, 9)
    order = np.random.default_rng(1).permutation(9)
    fit, turned = fit_plateau(rho, accuracy), fit_plateau(list(rho[order]), accuracy[order])
    scaled = fit_plateau(rho, accuracy / 100)
    assert turned.onset == pytest.approx(fit.onset, rel=1e-6)
    assert scaled.onset == pytest.approx(fit.onset, rel=1e-6)
    assert scaled.gain == pytest.approx(fit.gain / 100, rel=1e-6)


RHO = [0.05, 0.06, 0.08, 0.1, 0.12, 0.15]


@pytest.mark.parametrize(
    ("rho", "accuracy", "words"),
    [
        ([], [], "0 distinct"),
        ([0.1], [0.5], "1 distinct"),
        ([0.1, 0.1, 0.2, 0.2, 0.2], [1, 2, 3, 4, 5], "2 distinct"),
        (RHO, [0.9] * 6, "same at every density"),
        (RHO, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], "does not rise"),
        (RHO, [10 * r for r in RHO], "straight line"),
        (RHO, [r**2 for r in RHO], "straight line"),
        (RHO, [0.1, 0.9, 0.9, 0.9, 0.9, 0.9], "first two densities"),
        (RHO, [-9.0, -5.0, -3.0, -2.5, -2.2, -2.1], "no level to reach"),
    ],
)
def test_data_that_the_curve_does_not_fit_are_said(rho, accuracy, words):
    fit = fit_plateau(rho, accuracy)
    assert not fit.ok
    assert not fit.stopped
    assert words in fit.reason
    assert math.isnan(fit.onset)


@given(
    st.lists(st.tuples(st.floats(1e-6, 1), st.floats(-1e6, 1e6)), min_size=0, max_size=12).filter(
        lambda p: len(p) != 1
    )
)
def test_any_numbers_give_an_answer(points):
    fit = fit_plateau([p[0] for p in points], [p[1] for p in points])
    if fit.ok:
        assert fit.beta > 0
        assert fit.gain > 0
        assert fit.onset >= 0
        assert math.isfinite(fit.onset)
        assert fit.r2 <= 1 + 1e-9
    else:
        assert fit.reason.startswith("no fit")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_plateau([0.1, 0.2], [1.0]), "2 densities for 1 accuracies"),
        (lambda: fit_plateau([0.0, 0.2], [1.0, 2.0]), "densities hold 0.0"),
        (lambda: fit_plateau([0.1, 1.5], [1.0, 2.0]), "densities hold 1.5"),
        (lambda: fit_plateau([0.1, math.nan], [1.0, 2.0]), "densities hold nan"),
        (lambda: fit_plateau([0.1, 0.2], [1.0, math.nan]), "accuracies hold nan"),
        (lambda: fit_plateau(["a"], [1.0]), "flat sequence"),
        (lambda: fit_plateau(0.1, 1.0), "flat sequence"),
        (lambda: fit_plateau([0.1], [1.0], reference="asymptotic"), 'reference="asymptote"'),
    ],
)
def test_bad_input_is_refused(call, words):
    with pytest.raises(TopographError, match="Remedy") as caught:
        call()
    assert words in str(caught.value)
