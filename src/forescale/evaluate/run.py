"""One model through a list of tasks."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from forescale.align.chat import prompt_ids
from forescale.align.data import read_chats
from forescale.base.errors import ArtifactError, ConfigError
from forescale.base.files import sha256_file, write_atomic
from forescale.base.records.evaluation import EvalResult
from forescale.base.records.report import Sample
from forescale.engine.engine import Engine
from forescale.evaluate.tasks import TASKS, Exam

RESULT = "result.json"


def run(
    weights_dir: Path,
    tasks: Sequence[str],
    *,
    out: Path,
    tokens_dir: Path | None = None,
    heldout_jsonl: Path | None = None,
    seed: int = 0,
    limit: int = 200,
    validation_tokens: int = 262_144,
    max_new: int = 4096,
) -> EvalResult:
    """Score the model in `weights_dir`; writes `out/result.json` and every item to `out/TASK.jsonl`.

    bits_per_byte reads `tokens_dir` (its validation split), the others the conversations of `heldout_jsonl`, at most
    `limit` of them; an answer may go on for `max_new` tokens, or to the model's last position.
    """
    check_tasks(tasks)
    exam = Exam(Engine(weights_dir), tokens_dir, heldout_jsonl, seed, limit, validation_tokens, max_new)
    scores = {}
    for name in tasks:
        scored = TASKS[name](exam)
        path = out / f"{name}.jsonl"
        write_atomic(path, "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in scored.items).encode())
        scores[name] = scored.score.model_copy(update={"answers": str(path)})
    asked = any(name != "bits_per_byte" for name in tasks)
    result = EvalResult(
        model=str(weights_dir),
        weights_sha256=weights_sha256(weights_dir),
        precision=str(next(exam.engine.model.parameters()).dtype).removeprefix("torch."),
        tasks=scores,
        left_out={"question too long": exam.left_out} if asked and exam.left_out else {},
    )
    result.write(out / RESULT)
    return result


def check_tasks(tasks: Sequence[str]) -> None:
    """Refuse an unknown task, naming the nearest one."""
    for name in tasks:
        if name not in TASKS:
            near = difflib.get_close_matches(name, TASKS, n=1, cutoff=0.4)
            raise ConfigError(
                f"there is no task `{name}`",
                remedy=f"did you mean `{near[0]}`?" if near else f"tasks: {', '.join(TASKS)}",
                key="tasks",
            )
    if not tasks:
        raise ConfigError("no task was named", remedy=f"tasks: {', '.join(TASKS)}", key="tasks")


def weights_sha256(folder: Path) -> str:
    """Hash of the weights; of several files, the hash of their hashes."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ArtifactError(f"{folder} has no *.safetensors", remedy="give a folder of weights", file=folder)
    if len(files) == 1:
        return sha256_file(files[0])
    return hashlib.sha256("".join(sha256_file(f) for f in files).encode()).hexdigest()


def samples(
    models: Mapping[str, Path], prompts_jsonl: Path, *, n: int = 6, max_new: int = 4096, temperature: float = 0.0
) -> list[Sample]:
    """What each model (stage name -> weights folder) answers to the same `n` prompts, prompt by prompt."""
    chats = read_chats(prompts_jsonl)
    rows: list[list[Sample]] = []
    for stage, folder in models.items():
        engine = Engine(folder)
        asked = [(c, prompt_ids(c.question, engine.tokenizer)) for c in chats]
        asked = [(c, ids) for c, ids in asked if len(ids) < engine.limit * 3 // 4]
        count = min(n, len(asked))
        chosen = [asked[i * len(asked) // count] for i in range(count)]
        completions = engine.generate([ids for _, ids in chosen], max_new=max_new, temperature=temperature)
        rows.append(
            [
                Sample(
                    stage=stage,
                    prompt=chat.question[-1].content,
                    answer=engine.tokenizer.decode(completion.ids).removeprefix(" "),
                    ended=completion.finished,
                    path=str(folder),
                )
                for (chat, _), completion in zip(chosen, completions, strict=True)
            ]
        )
    return [sample for by_prompt in zip(*rows, strict=True) for sample in by_prompt]
