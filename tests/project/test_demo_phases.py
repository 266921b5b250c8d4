"""The demo: time by phase (what was made counts, what is only found again does not), and when it ends early."""

import json

import pytest

from forescale.base.errors import InputError
from forescale.base.records.laws import Laws, RunsSummary, Surface
from forescale.project import phases as room
from forescale.project.demo import refuse_without_forecast
from forescale.project.display import Display
from forescale.project.phases import Phases, inputs_digest


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock is ten seconds after the one before."""
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr(room.time, "monotonic", lambda: next(now))


def test_a_finished_phase_looked_at_again_adds_nothing(clock, tmp_path):
    def look(asked="a"):
        phases = Phases(tmp_path / "phases.json", Display(quiet=True), asked)
        for name in ("corpus", "ladder"):
            with phases(name):
                pass
        return phases.seconds

    assert look() == look() == {"corpus": 10, "ladder": 10}
    assert look("b") == {"corpus": 20, "ladder": 20}, "asked for something else, it is made again"


def test_a_phase_that_was_cut_short_adds_up(clock, tmp_path):
    def go_on(*, killed):
        phases = Phases(tmp_path / "phases.json", Display(quiet=True))
        with phases("ladder"):
            if killed:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go_on(killed=True)
    assert json.loads((tmp_path / "phases.json").read_text())["complete"] == []
    go_on(killed=False)
    go_on(killed=False)
    assert json.loads((tmp_path / "phases.json").read_text())["seconds"] == {"ladder": 20}


def test_the_digest_follows_options_and_files(tmp_path):
    text = tmp_path / "text"
    text.mkdir()
    (text / "a.txt").write_text("one")
    first = inputs_digest({"minutes": 8.0}, text, None)
    assert first == inputs_digest({"minutes": 8.0}, text, tmp_path / "none")
    assert first != inputs_digest({"minutes": 4.0}, text)
    (text / "a.txt").write_text("another")
    assert first != inputs_digest({"minutes": 8.0}, text)


def test_a_ladder_too_small_for_a_law_ends_the_demo_before_its_big_run():
    said = "no surface and no allocation: 4 different (size, tokens) runs, at least 5 are needed"
    with pytest.raises(InputError, match="too small to forecast") as caught:
        refuse_without_forecast(Laws(runs=RunsSummary(used=4), warnings=[said, "another"]))
    assert caught.value.why == said
    assert "--text" in caught.value.remedy
    surface = Surface(form="flat", E=4.2, A=0.0, alpha=0.0, B=0.0, beta=0.0)
    refuse_without_forecast(Laws(runs=RunsSummary(used=9), surface=surface))
