from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from forescale.base.records.laws import Laws, RungReport
from forescale.base.records.report import ReportData, Sample
from forescale.report.figure import number
from forescale.report.laws_figures import all_figures
from forescale.report.page import fit_figures, html, sections, write
from forescale.report.section import anchor, file_link

LOADING = {"src", "srcset", "data", "poster", "action", "formaction", "background"}
VOID = {"meta", "br", "hr", "img", "input", "link", "source", "wbr"}


class Reader(HTMLParser):
    """Reads a page: what it would load, its anchors and links, its words outside scripts; tags must close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.json: list[str] = []
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.tags.append(tag)
        self.loads += [value for key, value in given.items() if key in LOADING]
        self.loads += [given["href"]] if tag in ("link", "base", "use", "image") and "href" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.ids += [given["id"]] if "id" in given else []
        self.handlers += [key for key in given if key.startswith("on")]
        if given.get("http-equiv", "").lower() == "content-security-policy":
            self.policy = given["content"]
        if tag not in VOID:
            self.open.append(tag if given.get("type") != "application/json" else "json")

    def handle_endtag(self, tag: str) -> None:
        last = self.open.pop()
        assert tag == last or (tag == "script" and last == "json"), f"</{tag}> closes <{last}>"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "json":
            self.json.append(data)
        elif self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def page(story: ReportData) -> Reader:
    return read(html(story))


def test_loads_nothing_from_anywhere(page: Reader) -> None:
    assert page.loads == []
    assert "link" not in page.tags
    assert "default-src 'none'" in page.policy
    assert not [link for link in page.links if re.match(r"[a-z]+:|//", link)]


def test_tells_the_story_in_order(page: Reader, story: ReportData) -> None:
    names = [section.name for section in sections(story)]
    assert names == ["corpus", "tokenizer", "ladder", "laws", "plan", "forecast", "training", "tuning", "evaluation",
                     "samples", "ledger", "time"]  # fmt: skip
    assert [name for name in page.ids if name in ("headline", *names)] == ["headline", *names]


def test_holds_the_numbers_given(page: Reader, story: ReportData) -> None:
    forecast = story.the_forecast
    assert forecast is not None
    assert forecast.interval is not None
    assert story.target is not None
    assert story.target.validation is not None
    outcome = story.target.validation.bits_per_byte
    low, high = (number(end) for end in forecast.interval)
    for text in (number(forecast.loss), f"{low} – {high}", number(outcome), "10×", "inside", "−0.60%", "31,210", "2.8",
                 "η = 0.3118 C^-0.145", "c0ffeec0ffee", "only 21 usable pairs", "forescale demo --minutes 8 --seed 7"):  # fmt: skip
        assert text in page.text, text


@pytest.mark.parametrize(
    ("regime", "off", "label", "words"),
    [
        ("scaling", True, "Smallest rung used", "left out of the fit"),
        ("pre-scaling", True, "Smallest rung on the curve", "the fit uses the runs below, too"),
        ("unknown", False, "Smallest rung", "uses all rungs"),
    ],
)
def test_the_smallest_rung_agrees_with_the_regime(
    story: ReportData, regime: str, off: bool, label: str, words: str
) -> None:
    """Pre-scaling, all finished runs are used: no rung is then the smallest `used`."""
    assert story.laws is not None
    rungs = [RungReport(flops=c, admissible=not off or c > 1e11, best_loss=2.0) for c in (1e11, 3e11)]
    laws = story.laws.model_copy(update={"regime": regime, "rungs": rungs, "smallest_rung": 3e11})
    shown = sections(story.model_copy(update={"laws": laws}))
    facts = {fact.label: fact for section in shown if section.name == "laws" for fact in section.facts}
    assert words in facts[label].meaning


def test_the_split_and_what_is_scored_of_it_are_told_apart(story: ReportData) -> None:
    def words(scored: int | None) -> str:
        return next(section for section in sections(story.model_copy(update={"scored_tokens": scored}))
                    if section.name == "tokenizer").facts[3].meaning  # fmt: skip

    assert story.tokens is not None
    split = story.tokens.validation.tokens
    assert "the same for every run" in words(None)
    assert "the same for every run" in words(split)
    assert f"the same {split // 2:,} of them" in words(split // 2)


def test_every_run_can_be_reached(page: Reader, story: ReportData) -> None:
    for row in story.runs:
        assert anchor(row["run"]) in page.ids
        assert f"../ladders/demo/{row['run']}" in page.links
    for link in page.links:
        assert not link.startswith("#") or link[1:] in page.ids, link
    figures = [json.loads(text) for text in page.json]
    marked = {
        name.removeprefix("run ")
        for f in figures
        for trace in f.get("data", ())
        for name in trace.get("customdata", ())
    }
    assert {row["run"] for row in story.runs if row["status"] == "finished"} <= marked


def test_anchors_are_unique(page: Reader) -> None:
    assert len(page.ids) == len(set(page.ids))


def test_a_miss_is_called_one(story: ReportData) -> None:
    assert story.target is not None
    assert story.target.validation is not None
    worse = story.target.validation.model_copy(update={"nats": story.target.validation.nats * 1.1})
    missed = story.model_copy(update={"target": story.target.model_copy(update={"validation": worse})})
    text = read(html(missed)).text
    assert ": outside." in text
    assert ": inside." not in text


def test_a_broken_chain_is_shown(story: ReportData) -> None:
    assert story.ledger is not None
    broken = story.ledger.model_copy(
        update={"chain_ok": False, "broken_line": 3, "warnings": ["the chain is broken at line 3"]}
    )
    assert "broken at line 3" in read(html(story.model_copy(update={"ledger": broken}))).text


def test_nothing_at_all_is_still_a_page() -> None:
    assert sections(ReportData()) == []
    assert "forescale report" in read(html(ReportData())).text


@pytest.mark.parametrize("name", sorted(ReportData.model_fields))
def test_each_part_may_be_missing(story: ReportData, name: str) -> None:
    without = story.model_copy(update={name: ReportData.model_fields[name].get_default(call_default_factory=True)})
    read(html(without))


@pytest.mark.parametrize(
    "name", ["corpus", "tokens", "runs", "laws", "plan", "target", "ledger", "align", "evaluations", "logs", "seconds"]
)
def test_each_part_may_stand_alone(story: ReportData, name: str) -> None:
    alone = ReportData(**{name: getattr(story, name)})
    read(html(alone))


def test_laws_with_nothing_in_them() -> None:
    assert "unknown" in read(html(ReportData(laws=Laws()))).text


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }} @main & \"'"


def test_hostile_text_stays_text(story: ReportData) -> None:
    assert story.corpus is not None
    rows = [{**row, "run": HOSTILE + str(n), "trunk": "", "status": row["status"]} for n, row in enumerate(story.runs)]
    corpus = story.corpus.model_copy(
        update={"removed": {HOSTILE: 5}, "sources": {HOSTILE: story.corpus.sources["numpy"]}}
    )
    logs = [log.model_copy(update={"run": HOSTILE}) for log in story.logs]
    samples = [Sample(stage=HOSTILE, prompt=HOSTILE, answer=HOSTILE)]
    evil = story.model_copy(
        update={"title": HOSTILE, "command": HOSTILE, "runs": rows, "corpus": corpus, "logs": logs, "samples": samples,
                "evaluations": {HOSTILE: story.evaluations["sft"], "sft": story.evaluations["sft"]},
                "seconds": {HOSTILE: 3.0}, "paths": {"corpus": "javascript:alert(3)", f"runs/{HOSTILE}0": HOSTILE}}
    )  # fmt: skip
    page = read(html(evil))
    assert page.tags.count("script") == 3 + sum(len(section.figures) for section in sections(evil))
    assert "img" not in page.tags
    assert page.handlers == []
    assert not [link for link in page.links if link.lower().startswith("javascript:")]
    assert page.text.count("<script>alert(1)</script>") >= 4
    assert "49" not in page.text.partition("Samples")[2].partition("ledger")[0]
    for figure in map(json.loads, page.json):
        for trace in figure.get("data", ()):
            assert not any("<img" in text or "<script" in text for text in trace.get("hovertext", ()))


def test_links_are_quoted() -> None:
    (link,) = file_link("x", "../runs/a b#c?d")
    assert link.to == "../runs/a%20b%23c%3Fd"
    assert file_link("x", None) == ()


def test_writes_whole_files(story: ReportData, tmp_path: Path) -> None:
    path = write(story, tmp_path / "report")
    assert path == tmp_path / "report" / "index.html"
    assert path.read_text(encoding="utf-8").endswith("</html>\n") or path.read_text(encoding="utf-8").endswith(
        "</html>"
    )
    assert write(story, tmp_path / "named.html") == tmp_path / "named.html"
    assert not list(tmp_path.rglob("*.tmp"))


def test_figures_of_a_fit(laws: Laws, rows: list[dict], tmp_path: Path) -> None:
    written = fit_figures(laws, rows, tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in written}
    for name in ("isoflop", "frontier", "learning-rate-law", "batch-law", "model-scale", "data-scale", "scales",
                 "scale-curves", "scale-errors"):  # fmt: skip
        assert {f"figures/{name}.svg", f"figures/{name}.png"} <= names
    assert "figures.html" in names
    assert (tmp_path / "figures/isoflop.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "figures/isoflop.svg").read_text()
    assert "IsoFLOP" in read((tmp_path / "figures.html").read_text(encoding="utf-8")).text


def test_rows_may_be_strings_as_a_csv_gives_them(laws: Laws, rows: list[dict]) -> None:
    texts = [{key: "" if cell is None else str(cell) for key, cell in row.items()} for row in rows]
    assert all_figures(laws, texts) == all_figures(laws, rows)
