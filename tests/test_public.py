"""The package's face: exactly these names, opened lazily, typed, with words."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import forescale

NAMES = {"Project", "__version__", "compare", "fit", "forecast", "plan", "plans"}


def test_the_names_are_these() -> None:
    assert set(forescale.__all__) == set(dir(forescale)) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES - {"__version__"}))
def test_every_name_is_callable_typed_and_has_words(name: str) -> None:
    value = getattr(forescale, name)
    assert callable(value)
    assert inspect.getdoc(value)
    function = value.__init__ if inspect.isclass(value) else value
    parameters = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
    assert all(p.annotation is not inspect.Parameter.empty for p in parameters)
    assert value.__module__ == forescale._HOME[name]


def test_another_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = forescale.fitt


def test_import_opens_nothing() -> None:
    code = "import sys, forescale; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not set(re.findall(r"'(\w+)'", ended.stdout)) & {"numpy", "scipy", "torch", "pydantic", "typer", "pyarrow"}


def test_the_laws_open_without_any_extra() -> None:
    """The bare package: fit, forecast, plan and compare load with every extra's modules hidden."""
    extras = "torch numba tokenizers safetensors plotly matplotlib jinja2 ray submitit zstandard tiktoken pandas polars"
    code = (
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {extras.split()}: raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "import forescale\n"
        "print(forescale.fit, forescale.forecast, forescale.compare, forescale.Project)\n"
        "print(forescale.plan('deepseek', flops=1e20).learning_rate)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert float(ended.stdout.splitlines()[-1]) == pytest.approx(0.3118 * 1e20**-0.125, rel=1e-3)


def test_the_version_is_one() -> None:
    assert forescale.__version__ == version("forescale")


def test_types_travel_with_the_package() -> None:
    assert (Path(str(forescale.__file__)).parent / "py.typed").exists()


@pytest.mark.parametrize("name", sorted(set(forescale._HOME.values())))
def test_homes_exist(name: str) -> None:
    assert importlib.import_module(name)


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    """Word for word, beside a `runs.csv` made as the README says."""
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    example = [sys.executable, "-m", "forescale", "example", "runs", "--out", "runs.csv"]
    subprocess.run(example, cwd=tmp_path, check=True, timeout=60, capture_output=True)
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    loss, tokens = ended.stdout.splitlines()
    assert 1 < float(loss.split()[0]) < 3
    assert float(tokens) > 1e9
