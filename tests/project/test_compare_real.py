"""`compare` on corpora with runs that are really trained, in processes of their own."""

import pytest
from compare_texts import RECIPE, write

from forescale.project.project import Project

SMALL = ["ladder.budgets=[1e8, 2e8, 4e8, 8e8]", "ladder.sizes_per_budget=2", "ladder.replicates=1",
         "ladder.learning_rates=[1.0]", "ladder.batches=[64]", "train.validation_tokens=4096"]  # fmt: skip


@pytest.mark.slow
def test_text_like_the_outside_set_is_the_better_corpus(tmp_path):
    (tmp_path / "forescale.toml").write_text(RECIPE)
    write(tmp_path / "near", seed=1, vocabulary=7)
    write(tmp_path / "far", seed=2, vocabulary=8)
    write(tmp_path / "outside", seed=3, sources=1, vocabulary=7)
    made = Project(tmp_path, SMALL).compare([tmp_path / "near", tmp_path / "far"], validation=[tmp_path / "outside"])
    assert {laws.runs.used > 0 for laws in made.corpora.values()} == {True}
    assert all(b.order == ["near", "far"] for b in made.better)
    assert all(p.first_better == p.runs for p in made.paired)
    assert made.paired[-1].difference < -0.1


@pytest.mark.slow
def test_each_outside_set_has_an_order_of_its_own(tmp_path):
    """Two vocabularies, two corpora, and an outside set of each: on its own, each corpus is the better."""
    (tmp_path / "forescale.toml").write_text(RECIPE)
    for name, seed in (("red", 7), ("blue", 8)):
        write(tmp_path / name, seed=seed - 6, vocabulary=seed)
        write(tmp_path / f"like-{name}", seed=seed, sources=1, vocabulary=seed)
    outside = [tmp_path / "like-red", tmp_path / "like-blue"]
    made = Project(tmp_path, SMALL).compare([tmp_path / "red", tmp_path / "blue"], validation=outside)
    assert made.sets.keys() == {"like-red", "like-blue"}
    for name, order in made.sets.items():
        assert order.paired
        for pair in order.paired:
            assert pair.pair == ("red", "blue")
            assert (pair.difference < -0.05) if name == "like-red" else (pair.difference > 0.05)
