"""`compare` on corpora: one tokenizer, one outside set, the same ladder for each; nothing finished is repeated."""

import json
import math
import random
import shutil
from pathlib import Path

import pytest
from compare_texts import RECIPE, texts_of, write

from forescale import worker
from forescale.base.artifact import read_manifest
from forescale.base.errors import ConfigError, InputError, SystemFailure
from forescale.base.executor import InlineExecutor
from forescale.base.records.loss import LossSum
from forescale.base.records.run import RunRecord
from forescale.base.records.tokens import TokensSummary
from forescale.cli.main import main
from forescale.project.compare_verb import compare_verb, kind_of, named_corpora
from forescale.project.ladder import read_rows
from forescale.project.meter_runs import small_recipe
from forescale.project.project import Project
from forescale.project.show import show

SAME = ("budget", "tokens", "n_layer", "d_model", "lr", "batch_tokens", "seed", "validation", "tokenizer", "vocab_size")


def trained(spec):
    """In place of a training: losses on a known law, lower by 5% on red, with a noise of 0.2% by seed and settings."""
    path = Path(spec.out_dir) / "record.json"
    if path.exists():
        return [RunRecord.model_validate(record) for record in json.loads(path.read_text())]
    tokens = TokensSummary.read(Path(spec.tokens_dir) / "summary.json")
    noise = random.Random(spec.name)
    records = []
    for budget, n in zip(spec.budgets, spec.branches, strict=True):
        loss = 1.2 + 40 / spec.shape.flops_per_token**0.32 + 60 / n**0.35
        loss *= (0.95 if spec.group == "red" else 1.0) * (1 + noise.gauss(0, 0.002))
        sets = {
            name: LossSum(nats=loss * (0.9 if name == spec.group else 1.0) * 500 * math.log(2), tokens=250, bytes=500)
            for name in tokens.validation_sets
        }
        records.append(
            RunRecord(
                run=f"{spec.name}-{n}", trunk=spec.name, group=spec.group, budget=budget, shape=spec.shape, tokens=n,
                steps=n // spec.batch_tokens, batch_tokens=spec.batch_tokens, learning_rate=spec.learning_rate,
                warmup_steps=spec.warmup_steps, weight_decay=spec.weight_decay, seed=spec.seed,
                validation=LossSum(nats=loss * 1000 * math.log(2), tokens=500, bytes=1000),
                validation_sets=sets,
                bigram_bpb=tokens.bigram_bpb, tokenizer=tokens.tokenizer, validation_id=tokens.validation_id, seconds=1.0,
            )
        )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([record.to_json() for record in records]))
    return records


@pytest.fixture(scope="module")
def inline():
    """Parts run here, one after another, and nothing is really trained: what the meter does around it is asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Project, "executor", lambda self, workers=None: InlineExecutor())
        patch.setattr(worker, "run_trunk", trained)
        yield


@pytest.fixture(scope="module")
def compared(inline, tmp_path_factory):
    """A workspace in which corpora `red` and `blue` were compared, scored on `green`; three of its texts are in red."""
    root = tmp_path_factory.mktemp("compare")
    (root / "forescale.toml").write_text(RECIPE)
    write(root / "green", 3, sources=1)
    leaked = [text + " One more sentence at the end." for text in texts_of(root / "green")[:3]]
    write(root / "red", 1, copies=leaked)
    write(root / "blue", 2)
    return root, Project(root).compare([root / "red", root / "blue"], validation=[root / "green"])


def test_every_corpus_gets_the_same_runs_and_one_measure(compared):
    root, made = compared
    rows = {name: read_rows(Path(table)) for name, table in made.tables.items()}
    assert list(rows) == ["red", "blue"]
    assert rows["red"]
    settings = {name: sorted(tuple(row[key] for key in SAME) for row in of) for name, of in rows.items()}
    assert settings["red"] == settings["blue"]
    assert {row["group"] for row in rows["red"]} == {"red"}
    train = [(root / "comparisons/red-blue/tokens" / name / "train.bin").read_bytes() for name in rows]
    assert train[0] != train[1]
    assert [b.flops for b in made.better[:4]] == [2.5e8, 5e8, 1e9, 2e9]
    assert all(b.order == ["red", "blue"] and b.probability > 0.9 for b in made.better[:4])
    page = (root / "comparisons/red-blue/report.md").read_text()
    assert "Table 4" in page
    assert f"{made.paired[0].difference * 100:+.2f}%" in page
    assert json.loads((root / "comparisons/red-blue/comparison.json").read_text()) == made.to_json()


def test_like_runs_are_paired(compared):
    _, made = compared
    rows = {name: read_rows(Path(table)) for name, table in made.tables.items()}
    for pair in made.paired:
        assert pair.pair == ("red", "blue")
        assert pair.runs == sum(float(row["budget"]) == pair.flops for row in rows["red"])
        by_key = [
            {tuple(r[k] for k in SAME): float(r["bpb"]) for r in of if float(r["budget"]) == pair.flops}
            for of in rows.values()
        ]
        ratios = [by_key[0][key] / by_key[1][key] for key in by_key[0]]
        assert min(ratios) - 1 <= pair.difference <= max(ratios) - 1
        assert pair.first_better == sum(ratio < 1 for ratio in ratios)
        low, high = pair.interval
        assert low < pair.difference < high
        assert pair.difference == pytest.approx(-0.05, abs=0.002)


def test_a_difference_that_does_not_move_has_no_trend(compared):
    _, made = compared
    (line,) = made.trends
    assert line.interval[0] < 0 < line.interval[1]
    assert line.crossing is None
    assert all(point.first_better > 0.95 for point in line.points[:4])


def test_outside_text_that_a_corpus_trains_on_is_counted_and_left_out(compared):
    root, made = compared
    (green,) = made.outside.sets
    trained = read_manifest(root / "comparisons/red-blue/corpora/red").summary["train"]["sources"]
    assert "source1" in trained  # that is where the three are
    assert green.documents == 30
    assert green.contaminated == {"red": 3, "blue": 0}
    assert green.removed == {"near red's training text": 3}
    assert green.used_documents == 27
    assert made.outside.contact == {"red": 0, "blue": 0}  # of what is left
    assert any("3 resemble red's" in text for text in made.warnings)


def test_a_finished_comparison_repeats_nothing_and_a_cut_one_only_what_is_missing(compared):
    root, made = compared
    folder = root / "comparisons/red-blue"
    stamps = {p: p.stat().st_mtime_ns for p in folder.rglob("record.json")}
    assert Project(root).compare([root / "red", root / "blue"], validation=[root / "green"]) == made
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("record.json")} == stamps
    lost = folder / "ladders/blue"  # as if killed: no manifest, one trunk without its record and its rows
    (lost / "manifest.json").unlink()
    trunk = min(lost.glob("runs/*"))
    shutil.rmtree(trunk)
    lines = (lost / "runs.csv").read_text().splitlines(keepends=True)
    (lost / "runs.csv").write_text("".join(line for line in lines if trunk.name not in line))
    again = Project(root).compare([root / "red", root / "blue"], validation=[root / "green"])
    changed = [p for p, stamp in stamps.items() if p.stat().st_mtime_ns != stamp]
    assert changed == [trunk / "record.json"]
    assert again.better == made.better
    assert again.paired == made.paired


def test_another_comparison_of_the_same_name_keeps_the_first(compared, capsys):
    root, made = compared
    folder = root / "comparisons/red-blue"
    first = {name: (folder / name).read_bytes() for name in ("comparison.json", "report.md")}
    old = list(folder.glob("report.old/*"))
    Project(root).compare([root / "red", root / "blue"], metric="loss", validation=[root / "green"])
    (kept,) = set(folder.glob("report.old/*")) - set(old)
    assert {name: (kept / name).read_bytes() for name in first} == first
    assert json.loads((folder / "comparison.json").read_text())["corpora"]["red"]["unit"] == "nats_per_token"
    assert f"is now in {kept}" in capsys.readouterr().err
    assert Project(root).compare([root / "red", root / "blue"], validation=[root / "green"]) == made
    n = len(list(folder.glob("report.old/*")))
    Project(root).compare([root / "red", root / "blue"], validation=[root / "green"])
    assert len(list(folder.glob("report.old/*"))) == n, "the same comparison again moves nothing"


def test_show_knows_a_comparison(compared, capsys, tmp_path):
    root, _ = compared
    folder = root / "comparisons/red-blue"
    written = json.loads((folder / "comparison.json").read_text())
    for path in (folder, folder / "comparison.json", folder / "report.md"):
        told = show(path, verify=True, lineage=True)
        assert (told["kind"], told["comparison"]) == ("comparison", written)
        assert "error" not in told
        assert {node["kind"] for node in told["lineage"]["parents"]} == {"ladder"}
    assert {entry["kind"] for entry in told["artifacts"]} >= {"corpus", "tokenizer", "outside", "tokens", "ladder"}
    (tmp_path / "printed.json").write_text((folder / "comparison.json").read_text())
    for path in (folder, tmp_path / "printed.json"):
        capsys.readouterr()
        assert main(["show", str(path)]) == 0
        printed = capsys.readouterr().out
        assert "comparison of red and blue" in printed
        assert "Better" in printed
    assert show(root)["comparisons"] == [str(folder)]
    (tmp_path / "comparison.json").write_text("{")
    assert main(["show", str(tmp_path)]) == 4


def test_what_the_machine_refused_ends_with_8_and_seals_nothing(compared, monkeypatch):
    root, made = compared
    table, again = made.tables["blue"], [root / "red", root / "blue"]
    folder = Path(table).parent
    (folder / "manifest.json").unlink()
    lost = max(folder.glob("runs/*"))
    shutil.rmtree(lost)
    whole = Path(table).read_text()
    Path(table).write_text("".join(line for line in whole.splitlines(keepends=True) if lost.name not in line))

    def on_a_full_disk(spec):
        if spec.out_dir == str(lost):
            raise SystemFailure("cannot write: No space left on device", remedy="free space", file=lost)
        return trained(spec)

    monkeypatch.setattr(worker, "run_trunk", on_a_full_disk)
    with pytest.raises(SystemFailure, match="No space left"):
        Project(root).compare(again, validation=[root / "green"])
    assert not (folder / "manifest.json").exists()
    monkeypatch.setattr(worker, "run_trunk", trained)
    assert Project(root).compare(again, validation=[root / "green"]).paired == made.paired
    assert sorted(Path(table).read_text().splitlines()) == sorted(whole.splitlines())


def test_the_ladder_verb_says_how_far_it_is_beside_its_json(compared, tmp_path, capsys):
    root, _ = compared
    (tmp_path / "forescale.toml").write_text(RECIPE)
    shutil.copytree(root / "comparisons/red-blue/tokens/red", tmp_path / "tokens")
    shutil.copytree(root / "comparisons/red-blue/tokenizer", tmp_path / "tokenizer")
    assert main(["ladder", "--json", "--workspace", str(tmp_path)]) == 0
    told = capsys.readouterr()
    runs = json.loads(told.out)["runs"]
    lines = [line for line in told.err.splitlines() if line.startswith("ladder: ")]
    assert lines[0].startswith(f"ladder: 0 of {runs} runs")
    assert lines[-1].startswith(f"ladder: {runs} of {runs} runs")


def test_the_ladders_are_read_as_finished_runs(compared):
    _, made = compared
    folders = [table.rpartition("/")[0] for table in made.tables.values()]
    read = compare_verb(folders)
    assert set(read.corpora) == {"red", "blue"}
    assert read.paired == made.paired
    assert read.trends == made.trends
    assert read.outside is None


def test_without_an_outside_folder_equal_bytes_of_each_held_out_part_are_scored(compared):
    root, made = compared
    held = Project(root, ["ladder.budgets=[]"]).compare(
        [root / "red", root / "blue"], name="held", tokenizer=root / "comparisons/red-blue/tokenizer"
    )
    assert [s.name for s in held.outside.sets] == ["red", "blue"]
    assert len({s.used_bytes for s in held.outside.sets}) == 1
    assert any("no --validation" in text for text in held.warnings)
    assert list(held.sets) == ["blue", "red"]
    for home, order in held.sets.items():  # where it is at home, each is the better
        assert {b.order[0] for b in order.better} == {home}
        assert order.paired
        assert all((p.difference < 0) == (p.pair[0] == home) for p in order.paired)
        rows = {row["run"]: row for row in read_rows(Path(order.tables[home]))}
        assert {row["bigram_bpb"] for row in rows.values()} == {""}
        assert rows.keys() == {row["run"] for row in read_rows(Path(held.tables[home]))}
    assert "## Set by set" in Path(held.report).read_text()
    assert not made.sets
    (said,) = [text for text in held.warnings if "ladder budgets up to" in text]
    assert "none is repeated" in said
    rows = [row for table in held.tables.values() for row in read_rows(Path(table))]
    assert len({row["budget"] for row in rows}) == 4
    assert 1e5 < max(int(row["tokens"]) for row in rows) <= 3.4e5  # all that the smaller corpus has
    keys = [{row["validation"] for table in c.tables.values() for row in read_rows(Path(table))} for c in (made, held)]
    assert len(keys[0]) == len(keys[1]) == 1
    assert keys[0] != keys[1]
    assert {row["tokenizer"] for row in read_rows(Path(held.tables["red"]))} == {
        row["tokenizer"] for row in read_rows(Path(made.tables["red"]))
    }


@pytest.mark.parametrize(
    ("corpora", "options", "error", "words"),
    [
        (["red", "red"], {}, ConfigError, "named twice"),
        (["red"], {}, ConfigError, "only one corpus"),
        (["red", "empty"], {}, InputError, "corpus empty: no text"),
        (["red", "none"], {}, InputError, "does not exist"),
        (["red", "comparisons/red-blue/ladders/blue"], {}, ConfigError, "finished runs"),
        (["red", "blue"], {"validation": ["red/source1"]}, ConfigError, "overlaps the corpus red"),
        (["red", "blue"], {"validation": ["empty"]}, InputError, "--validation .*: no text"),
        (["red", "blue"], {"validation": ["green", "green"]}, ConfigError, "named twice"),
        (["red", "blue"], {"validation": ["copy"], "name": "copied"}, InputError, "nothing of the outside set copy"),
        (["red", "blue"], {"group": "red"}, ConfigError, "--group goes with tables"),
        (["red", "blue"], {"name": "../up"}, ConfigError, "no folder's name"),
        (["comparisons/red-blue/ladders/red"], {"validation": ["green"]}, ConfigError, "these are finished runs"),
    ],
)
def test_what_cannot_be_compared_is_refused(compared, corpora, options, error, words):
    root, _ = compared
    (root / "empty").mkdir(exist_ok=True)
    if not (root / "copy").exists():
        trained = read_manifest(root / "comparisons/red-blue/corpora/red").summary["train"]["sources"]
        shutil.copytree(root / "red" / trained[0], root / "copy")
    options = {k: [root / v for v in value] if k == "validation" else value for k, value in options.items()}
    with pytest.raises(error, match=words):
        Project(root).compare([root / corpus for corpus in corpora], **options)


def test_a_ladder_longer_than_a_corpus_names_it(compared):
    root, _ = compared
    with pytest.raises(InputError, match=r"corpus red has .* training tokens"):
        Project(root, ["ladder.budgets=[1e12]"]).compare([root / "red", root / "blue"], validation=[root / "green"])


def test_kinds_and_names(compared, tmp_path):
    root, _ = compared
    assert kind_of(root) == "workspace"
    assert kind_of(root / "red") == "text"
    assert kind_of(root / "comparisons/red-blue/corpora/red") == "corpus"
    assert kind_of(root / "comparisons/red-blue/ladders/red") == "runs"
    (tmp_path / "runs.jsonl").write_text('{"flops": 1e12, "loss": 3.0, "text": "a note"}\n')
    (tmp_path / "docs.jsonl").write_text('{"text": "a document"}\n')
    assert [kind_of(tmp_path / name) for name in ("runs.jsonl", "docs.jsonl")] == ["runs", "text"]
    paths = [tmp_path / "a" / "text", tmp_path / "b c" / "text"]
    named = named_corpora(paths, dict.fromkeys(paths, "text"))
    assert [corpus.name for corpus in named] == ["a-text", "b_c-text"]


def test_what_the_recipe_leaves_open_is_small_for_small_budgets_only(tmp_path):
    (tmp_path / "forescale.toml").write_text("[model]\nseq_len = 64\n")
    recipe, said = small_recipe(Project(tmp_path))
    assert (recipe.model.seq_len, recipe.tokenizer.vocab_size, recipe.model.head_dim) == (64, 512, 16)
    assert "tokenizer.vocab_size = 512" in said[0]
    assert "seq_len" not in said[0]
    large = Project(tmp_path, ["ladder.budgets=[1e17, 1e18]"])
    assert small_recipe(large) == (large.recipe, [])
