"""Five budgets, seven sizes each, by a law that is known."""

from __future__ import annotations

import numpy as np

from forescale.base.records.laws import Surface

LAW = Surface(form="chinchilla", E=1.82, A=482.0, alpha=0.348, B=2085.0, beta=0.366)


def ladder():
    rng = np.random.default_rng(3)
    rows = []
    for flops in np.geomspace(1e17, 1e19, 5):
        for factor in np.geomspace(0.1, 10, 7):
            size = 0.1 * flops**0.5 * factor
            tokens = flops / (6 * size)
            loss = LAW.loss(size, tokens) * float(np.exp(0.002 * rng.standard_normal()))
            rows.append({"params": size, "tokens": tokens, "loss": loss})
    return rows
