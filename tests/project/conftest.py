import pytest
from chain_texts import RECIPE, write_text

from forescale.project.project import Project


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    """A workspace with its corpus cleaned, its tokenizer and shards, a ladder and laws."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "forescale.toml").write_text(RECIPE)
    write_text(folder / "text")
    project = Project(folder)
    project.clean()
    project.vocab()
    project.tokenize()
    project.ladder("main")
    project.fit("main")
    return folder
