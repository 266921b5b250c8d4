"""`python -m benchmarks.synthetic [ladders a kind]`: ladders with known truth: coverage, width, alarms."""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.scores import LEVELS, covered, score, winkler
from forescale.scaling.fit import fit
from forescale.scaling.forecast import forecast
from forescale.scaling.surfaces import Frame, solve
from forescale.scaling.synthetic import KINDS, SyntheticLadder, make_ladder

LEVEL = LEVELS[-1]


def alarmed(ladder: SyntheticLadder) -> tuple[bool | float, ...]:
    """Alarm, relative error, width, Winkler score of one ladder's forecast; share of E, alpha, beta held; whether the
    intervals of each of LEVELS held."""
    laws = fit(ladder.rows, level=LEVEL)
    made = [forecast(laws, model_scale=ladder.size, tokens=ladder.tokens, level=level) for level in LEVELS]
    scores = [score(m.loss, m.interval, ladder.outcome, level) for m, level in zip(made, LEVELS, strict=True)]
    scored = scores[-1]
    alarm = laws.regime == "pre-scaling" or any(
        word in text for text in laws.warnings for word in ("steepens", "not come out", "share trunks", "only")
    )
    held = float("nan")
    if laws.surface is not None:
        ends = {name: laws.surface.intervals[name] for name in ("E", "alpha", "beta")}
        held = float(np.mean([low <= getattr(ladder.truth, name) <= high for name, (low, high) in ends.items()]))
    return alarm, scored.error, scored.width, scored.winkler, held, *(s.inside for s in scores)


def oracle(ladder: SyntheticLadder, noise: float = 0.002, draws: int = 200) -> float:
    """Winkler score of one who knows the form, the noise, and the population that the truths were drawn from."""
    rng = np.random.default_rng(ladder.seed)
    size, tokens, loss = (np.array([r[k] for r in ladder.rows]) for k in ("flops_per_token", "tokens", "loss"))
    frame = Frame.of(size, tokens, loss)
    t = ladder.truth
    theta = np.array(
        [np.log(t.E), np.log(t.A) - t.alpha * frame.x0, t.alpha, np.log(t.B) - t.beta * frame.y0, t.beta,
         np.log(t.gamma)]
    )  # fmt: skip
    shifted = Frame(frame.x, frame.y, frame.log_loss + noise * rng.standard_normal((draws, len(loss))), frame.log_c,
                    frame.x0, frame.y0)  # fmt: skip
    population = np.array((np.log(1.75), 0.0, 0.35, 0.0, 0.35, -0.5))
    sd = np.array((0.12, 1e3, 0.04, 1e3, 0.04, 0.25))
    jitter = np.where(sd < 100, sd, 0.0)
    mean = population + rng.standard_normal((draws, 6)) * jitter
    wide = sd**-2.0
    found = solve(shifted, np.ones((draws, len(loss))), np.tile(theta, (draws, 1)), mean, wide, list(range(6)))
    from forescale.scaling.surfaces import log_predict

    x, y = np.array([np.log(ladder.size) - frame.x0]), np.array([np.log(ladder.tokens) - frame.y0])
    ahead = log_predict(found.theta, x, y)[:, 0] + noise * rng.standard_normal(draws)
    low, high = np.exp(np.quantile(ahead, (0.05, 0.95)))
    return float(winkler(low, high, ladder.outcome, LEVEL))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    lines = ["| kind | ladders | mean error % | coverage of 50, 80, 90% | width % | Winkler % | oracle % | alarm | E, alpha, beta in theirs |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for kind in KINDS:
        ladders = [make_ladder(kind, seed) for seed in range(count)]
        scored = np.array([alarmed(ladder) for ladder in ladders], dtype=float)
        best = float(np.mean([oracle(ladder) for ladder in ladders])) if kind == "well-specified" else float("nan")
        alarm, error, width, winkler, held = scored.T[:5]
        law = f"{np.nanmean(held):.2f}" if kind == "well-specified" else ""
        lines.append(
            f"| {kind} | {count} | {100 * np.abs(error).mean():.2f} | {covered(scored[:, 5:])} | {100 * width.mean():.1f} |"
            f" {100 * winkler.mean():.1f} | {'' if np.isnan(best) else f'{100 * best:.1f}'} | {alarm.mean():.2f} | {law} |"
        )
    print("\n".join(lines))
    if count >= 40:
        from benchmarks.page import write

        write("synthetic", lines)


if __name__ == "__main__":
    main()
