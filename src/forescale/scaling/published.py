"""Published laws, each with its source and schedule, to plan by where there are no runs of one's own.

None has an interval: their authors measured no forecast error. Letters as in base/records/laws.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from forescale.base.errors import ConfigError
from forescale.base.records.laws import Allocation, ComputeLaw, Laws, PowerLaw, Surface

PF_DAY = 8.64e19
"""FLOPs of a petaflop/s for a day."""
MULTI_STEP_DEEPSEEK = {
    "schedule": "multi_step 80/10/10 (31.6%, 10%)", "warmup": "2000 steps", "weight_decay": 0.1, "optimizer": "adamw",
    "parametrisation": "standard, initial std 0.006",
}  # fmt: skip


def deepseek() -> Laws:
    """DeepSeek LLM (2024): Eq. 1 (rate and batch, fitted on 1e17-2e19 FLOPs) and Eq. 4 (split, 1e17-3e20)."""
    return _laws(
        "DeepSeek LLM (arXiv 2401.02954) Eq. 1 and Eq. 4",
        scale="M",
        unit="bpb",
        range_flops=3e20,
        allocation=Allocation(
            model_exponent=0.5243, data_exponent=0.4757, model_coefficient=0.1715, data_coefficient=5.8316,
            method="published",
        ),
        learning_rate=PowerLaw(
            coefficient=0.3118, exponents={"flops": -0.1250}, conditional_on=MULTI_STEP_DEEPSEEK, band=0.0025
        ),
        batch=PowerLaw(
            coefficient=0.2920, exponents={"flops": 0.3271}, conditional_on=MULTI_STEP_DEEPSEEK, band=0.0025
        ),
        notes=["its learning-rate and batch laws were fitted up to 2e19 FLOPs; its loss curve is not published"],
    )  # fmt: skip


def chinchilla() -> Laws:
    """Hoffmann et al. (2022): split of their approach 2 (IsoFLOP profiles), loss of their approach 3 as printed."""
    model, data = 0.49, 0.51
    # Coefficients from the paper's own table of approach 2 (Table A3), 1B row: 1.20e20 FLOPs, 20.0e9 tokens.
    return _laws(
        "Hoffmann et al. (arXiv 2203.15556), approach 2 for the split, approach 3 for the loss",
        scale="N2",
        range_flops=3e21,
        allocation=Allocation(
            model_exponent=model, data_exponent=data, model_coefficient=1.20e20 / (6 * 20.0e9) / 1.20e20**model,
            data_coefficient=20.0e9 / 1.20e20**data, method="published",
        ),
        surface=Surface(form="chinchilla", E=1.69, A=406.4, alpha=0.34, B=410.7, beta=0.28),
        conditions={"schedule": "cosine to 10%, as long as the run", "tokenizer": "SentencePiece 32k"},
        notes=[
            "the printed loss fit is not at its data's optimum and its own split contradicts approaches 1 and 2: "
            "`epoch` is the corrected refit"
        ],
    )  # fmt: skip


def epoch() -> Laws:
    """Besiroglu et al. (2024): the refit of Chinchilla's points; split and loss from one surface."""
    surface = Surface(form="chinchilla", E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658)
    return _laws(
        "Besiroglu et al. (arXiv 2404.10102), refit of Hoffmann et al.'s points",
        scale="N2",
        range_flops=3e21,
        allocation=split_of(surface, 6.0),
        surface=surface,
        conditions={"schedule": "cosine to 10%, as long as the run", "tokenizer": "SentencePiece 32k"},
    )


def kaplan() -> Laws:
    """Kaplan et al. (2020): N ~ C^0.73 of the batch-adjusted frontier, loss of Eq. 1.5, batch of section 6."""
    # Printed in PF-days: N = 1.3e9 C^0.73, B = 2.0e6 C^0.24, L = (3.1e8 / C)^0.050; tokens follow from C = 6 N D.
    return _laws(
        "Kaplan et al. (arXiv 2001.08361), section 6 and Table 2",
        scale="N1",
        range_flops=1e0 * PF_DAY,
        allocation=Allocation(
            model_exponent=0.73, data_exponent=0.27, model_coefficient=1.3e9 / PF_DAY**0.73,
            data_coefficient=PF_DAY**0.73 / (6 * 1.3e9), method="published",
        ),
        surface=Surface(
            form="kaplan", E=0.0, A=6.4e13**0.076, alpha=0.076, B=1.8e13**0.103, beta=0.103, gamma=0.103
        ),
        compute=ComputeLaw(E=0.0, k=(3.1e8 * PF_DAY) ** 0.050, alpha=0.050),
        batch=PowerLaw(
            coefficient=2.0e6 / PF_DAY**0.24, exponents={"flops": 0.24},
            conditional_on={"schedule": "3000 warm-up steps, cosine to zero", "optimizer": "adam"},
        ),
        conditions={"schedule": "cosine to zero", "seq_len": 1024, "tokenizer": "GPT-2, 50257"},
        notes=["its exponents come from small sizes, long warm-up and a schedule longer than most runs (Porian 2024)"],
    )  # fmt: skip


def steplaw() -> Laws:
    """Li et al. (2025), Step Law: learning rate from size and tokens, batch from tokens. No split, no loss."""
    conditions = {
        "schedule": "cosine to a fixed 1e-5", "warmup": "2000 steps", "weight_decay": 0.1, "optimizer": "adamw",
    }  # fmt: skip
    return _laws(
        "Li et al. (arXiv 2503.04715), Step Law",
        scale="N1",
        range_flops=6e20,
        range_size=1.07e9,
        learning_rate=PowerLaw(
            coefficient=1.79, exponents={"size": -0.713, "tokens": 0.307}, conditional_on=conditions
        ),
        batch=PowerLaw(coefficient=0.58, exponents={"tokens": 0.571}, conditional_on=conditions),
    )


def llama3() -> Laws:
    """Llama 3 (2024): compute-optimal tokens, D = 0.299 C^0.537; size from C = 6 N D."""
    return _laws(
        "Llama Team (arXiv 2407.21783), section 3.2.1",
        scale="N2",
        range_flops=1e22,
        allocation=Allocation(
            model_exponent=0.463, data_exponent=0.537, model_coefficient=1 / (6 * 0.299), data_coefficient=0.299,
            method="published",
        ),
        conditions={"schedule": "cosine to 10%", "warmup": "2000 steps", "weight_decay": "0.1 x rate"},
    )  # fmt: skip


PUBLISHED: dict[str, Callable[[], Laws]] = {
    "deepseek": deepseek,
    "chinchilla": chinchilla,
    "epoch": epoch,
    "kaplan": kaplan,
    "steplaw": steplaw,
    "llama3": llama3,
}
"""Names that `--laws` knows."""


def laws(name: str) -> Laws:
    """The published laws of this name, or the nearest name in a refusal.

    >>> laws("deepseek").allocation.model_exponent
    0.5243
    """
    if name in PUBLISHED:
        return PUBLISHED[name]()
    near = difflib.get_close_matches(name.lower(), list(PUBLISHED), n=1, cutoff=0.5)
    raise ConfigError(
        f"there are no published laws named `{name}`",
        remedy=(f"did you mean `{near[0]}`? " if near else "") + f"known: {', '.join(PUBLISHED)}; or a laws folder",
        key="laws",
    )


def split_of(surface: Surface, factor: float) -> Allocation:
    """The split that minimises a surface at C = factor x size x D.

    Exact for gamma = 1 (Hoffmann Eq. 4). With gamma the minimum lies where alpha a^(1/gamma) = beta b^(1/gamma):
    the exponents stay, the ratio inside the coefficient is raised to gamma.
    """
    alpha, beta = surface.alpha, surface.beta
    ratio = (alpha / beta) ** surface.gamma * surface.A / surface.B
    g = ratio ** (1.0 / (alpha + beta))
    a = beta / (alpha + beta)
    return Allocation(
        model_exponent=a,
        data_exponent=1.0 - a,
        model_coefficient=g * factor**-a,
        data_coefficient=factor ** (a - 1.0) / g,
        method="surface",
    )


def _laws(
    source: str,
    *,
    range_flops: float,
    range_size: float | None = None,
    notes: list[str] | None = None,
    **fields: object,
) -> Laws:
    """A published set. `range_flops` is the largest compute its authors measured, roughly (at `range_size`)."""
    from forescale.base.records.laws import Largest

    record = Laws.model_validate(
        {
            "source": source,
            "warnings": [f"published laws ({source}): no interval, their error was never measured", *(notes or [])],
            **fields,
        }
    )
    if range_size is not None:
        size, tokens = range_size, range_flops / (record.flops_factor * range_size)
    else:
        assert record.allocation is not None
        size, tokens = record.allocation.split(range_flops)
    return record.model_copy(update={"largest": Largest(flops=range_flops, size=size, tokens=tokens)})
