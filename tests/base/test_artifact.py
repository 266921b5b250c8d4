import pytest

from forescale.base.artifact import finished, make, read_manifest, recipe_hash, verify
from forescale.base.errors import ArtifactError


def build(path, recipe, text="hello"):
    with make(path, "note", recipe, parents=[], settings={"text": text}, verb="test") as folder:
        if not folder.already:
            (folder.path / "note.txt").write_text(text)
            folder.summary = {"letters": len(text)}
    return folder


def test_a_finished_recipe_is_found_and_not_made_again(tmp_path):
    recipe = recipe_hash("note", parents=[], settings={"text": "hello"})
    assert not build(tmp_path / "note", recipe).already
    again = build(tmp_path / "note", recipe)
    assert again.already
    assert again.summary == {"letters": 5}
    assert finished(tmp_path / "note", recipe)


def test_another_recipe_sets_the_old_one_aside_and_loses_nothing(tmp_path):
    first, second = (recipe_hash("note", parents=[], settings={"text": t}) for t in ("hello", "world"))
    build(tmp_path / "note", first)
    build(tmp_path / "note", second, "world")
    assert (tmp_path / "note" / "note.txt").read_text() == "world"
    assert (tmp_path / "note.old" / first[:8] / "note.txt").read_text() == "hello"


def cut_short(path, recipe):
    with make(path, "note", recipe, parents=[], settings={}, verb="test") as folder:
        (folder.path / "part-0").write_text("done")
        raise RuntimeError("cut")


def test_half_done_work_of_the_same_recipe_is_gone_on_with(tmp_path):
    recipe = recipe_hash("note", parents=[], settings={})
    with pytest.raises(RuntimeError, match="cut"):
        cut_short(tmp_path / "note", recipe)
    with pytest.raises(ArtifactError, match="not a finished artifact"):
        read_manifest(tmp_path / "note")
    with make(tmp_path / "note", "note", recipe, parents=[], settings={}, verb="test") as folder:
        assert (folder.path / "part-0").read_text() == "done"


def test_verify_names_what_was_changed_or_is_missing(tmp_path):
    build(tmp_path / "note", recipe_hash("note", parents=[], settings={}))
    assert verify(tmp_path / "note") == []
    (tmp_path / "note" / "note.txt").write_text("hullo")
    assert verify(tmp_path / "note") == ["note.txt was changed"]
    (tmp_path / "note" / "note.txt").unlink()
    assert verify(tmp_path / "note") == ["note.txt is missing"]


def test_every_part_of_a_recipe_moves_its_hash():
    base = {"parents": ["a"], "settings": {"x": 1}, "seed": 0, "inputs": {"f": "1"}}
    hashes = {recipe_hash("k", **base)}
    hashes |= {recipe_hash("k", **(base | change)) for change in (
        {"parents": ["b"]}, {"settings": {"x": 2}}, {"seed": 1}, {"inputs": {"f": "2"}}
    )}  # fmt: skip
    assert len(hashes | {recipe_hash("other", **base)}) == 6
