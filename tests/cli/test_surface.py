"""Names that scripts rely on: the whole surface against its golden file, and the promised part against this list."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import surface

COMMON = "--json --set --workspace --force --debug"
READING = "--scale --column --where --group --metric"
PARTS = "--executor --ray-address"
PROMISED = {
    "init": "", "check": "", "demo": "--minutes --text --sft --seed --out", "clean": PARTS,
    "dedup": f"--out --index --threshold --level {PARTS}", "corpus stats": "", "corpus sample": "", "corpus why": "",
    "corpus diff": "", "vocab": "", "tokenize": PARTS,
    "ladder": f"--name --dry-run --target --until-interval --allowance {PARTS}",
    "ladder suggest": f"--target --candidates {READING}",
    "fit": f"{READING} --form --band --level --thorough --dry-run --out",
    "forecast": "--flops --model-scale --tokens --at --out --level --conditions",
    "plan": "--flops --tokens --days --minutes --money --gpus --device --price --utilisation --laws --recipe --shape "
            "--unique-tokens --serve-tokens --objective --out",
    "compare": f"--validation {READING} {PARTS}", "ledger": "--digest", "watch": "--column --schedule", "example": "",
    "pretrain": "--processes --dry-run --extend --tokens", "sft": "--from", "dpo": "--from", "prefer": "--from",
    "evaluate": "--tasks", "chat": "", "report": "", "show": "--verify --lineage",
}  # fmt: skip
"""Verb -> its own options."""

JSON = {
    "fit": "scale unit level runs.used runs.left_out[].row runs.left_out[].line runs.left_out[].reason surface.form "
           "surface.E surface.A surface.alpha surface.B surface.beta surface.objective surface.intervals "
           "allocation.model_exponent allocation.data_exponent allocation.model_coefficient allocation.data_coefficient "
           "allocation.intervals learning_rate.coefficient learning_rate.exponents learning_rate.conditional_on "
           "learning_rate.intervals batch.coefficient batch.exponents batch.conditional_on batch.intervals compute.E "
           "compute.k compute.alpha noise[].flops noise[].seed_sd noise[].replicates regime smallest_rung "
           "self_check.held_out_above self_check.median_error self_check.coverage self_check.n warnings",
    "forecast": "loss interval level unit scale model_scale tokens flops learning_rate batch_tokens extrapolation.flops "
                "extrapolation.size extrapolation.tokens source regime assumptions[].what assumptions[].ladder "
                "assumptions[].target assumptions[].charged self_check warnings",
    "plan": "flops_asked flops flops_per_token tokens epochs model.n_layer model.d_model model.n_head model.n_kv_head "
            "model.d_ffn model.vocab_size model.seq_len model.params_non_embedding model.params batch_tokens "
            "learning_rate warmup_steps steps schedule.kind schedule.points forecast layout.data layout.tensor "
            "layout.pipeline layout.micro_batch layout.memory_gib_per_device layout.days checkpoint_gib "
            "cost.device_hours cost.money cost.ladder_share laws laws_say.flops_per_token laws_say.tokens "
            "laws_say.batch_tokens laws_say.learning_rate pareto[].batch_tokens pareto[].tokens pareto[].hours "
            "pareto[].money warnings",
    "compare": "corpora better[].flops better[].order better[].probability exponents{}.model_exponent "
               "exponents{}.interval crossings[].pair crossings[].flops warnings",
    "ledger": "entries[].plan entries[].run entries[].kind entries[].digest entries[].sealed_at entries[].target_flops "
              "entries[].extrapolation entries[].predicted entries[].interval entries[].outcome entries[].error "
              "entries[].inside entries[].counts coverage.inside coverage.of coverage.interval median_error chain_ok",
    "ladder suggest": "target_flops width_now runs[].flops_per_token runs[].params runs[].tokens runs[].flops runs[].lr "
                      "runs[].batch_tokens runs[].seed width_after flops",
    "demo": "report chat_model forecast interval outcome unit regime extrapolation ladder_runs flops seconds corpus",
    "evaluate": "model weights_sha256 precision tasks{}.metric tasks{}.score tasks{}.interval tasks{}.n tasks{}.protocol "
                "tasks{}.normalisation tasks{}.shots tasks{}.seed tasks{}.prompt_sha256 tasks{}.template tasks{}.answers",
}  # fmt: skip
"""Verb -> keys of its JSON."""


def test_the_surface_is_the_golden_one() -> None:
    now, then = surface.text(), surface.GOLDEN.read_text(encoding="utf-8")
    assert now == then, "python tests/cli/surface.py shows the change; a renamed or removed name wants a CHANGELOG line"


@pytest.mark.parametrize("name", list(PROMISED))
def test_promised_options(name: str) -> None:
    found = json.loads(surface.GOLDEN.read_text(encoding="utf-8"))["verbs"][name]["options"]
    assert set(f"{PROMISED[name]} {COMMON}".split()) <= set(found)


@pytest.mark.parametrize("name", list(JSON))
def test_promised_json_keys(name: str) -> None:
    found = json.loads(surface.GOLDEN.read_text(encoding="utf-8"))["json"][name]
    assert set(JSON[name].split()) <= set(found)


def test_the_project_has_a_method_for_every_verb() -> None:
    from forescale.project.project import Project

    named = {name.replace("ladder suggest", "suggest").replace(" ", "_") for name in PROMISED} - {"demo", "example"}
    assert not [verb for verb in sorted(named) if not callable(getattr(Project, verb, None))]


def test_the_installed_command_runs() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "forescale", "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.startswith("forescale ")
