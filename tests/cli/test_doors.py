"""The doors: quick help, one JSON object, exit codes, closed pipes, Ctrl-C, and what a slip of the finger gets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from forescale.base import errors
from forescale.cli import failures, main, verb
from forescale.cli.options import Common

HEAVY = ("numpy", "scipy", "torch", "pyarrow", "numba", "tokenizers", "plotly", "matplotlib")


def python(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


@pytest.mark.parametrize("words", [["--help"], ["plan", "--help"], ["ladder", "suggest", "--help"], ["--version"]])
def test_help_opens_no_room(words: list[str]) -> None:
    ended = python(
        "import sys; from forescale.cli.main import main; code = main(sys.argv[1:]);"
        "print(sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr); sys.exit(code)",
        *words,
    )
    assert ended.returncode == 0
    loaded = set(ended.stderr.strip().splitlines()[-1].strip("[]").replace("'", "").split(", "))
    assert "typer" in loaded
    assert not loaded & set(HEAVY)
    if words == ["--help"]:
        assert "pydantic" not in loaded  # typer itself needs it to read a verb's options


def test_version(run: Any) -> None:
    import forescale

    assert run("--version").out == f"forescale {forescale.__version__}\n"


def test_no_words_print_help(run: Any) -> None:
    ended = run()
    assert ended.code == 2
    assert "fit" in ended.out


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["fti"], "did you mean `forescale fit`?"),
        (["fit", "--jsn"], "did you mean `--json`?"),
        (["--json", "fit"], "write --json after the verb: forescale VERB --json"),
        (["corpus", "stat"], "did you mean `forescale corpus stats`?"),
        (
            ["ladder", "--target", "1e12", "suggest"],
            "write options after the verb: forescale ladder suggest --target ...",
        ),
    ],
)
def test_a_slip_of_the_finger_is_answered(run: Any, words: list[str], remedy: str) -> None:
    ended = run(*words)
    assert ended.code == 2
    if "--json" in words:
        assert ended.json["error"]["remedy"] == remedy
    else:
        assert f"try: {remedy}" in ended.err
        assert not ended.out


def test_usage_errors_are_json_too(run: Any) -> None:
    ended = run("plan", "--flops", "many", "--json")
    assert ended.code == 2
    error = ended.json["error"]
    assert list(error) == ["code", "what", "why", "remedy", "file", "line", "key"]
    assert error["code"] == 2
    assert "'many' is not a number" in error["what"]


def fails_with(error: BaseException) -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)

    def broken(common: Common) -> None:
        """Fails."""
        raise error

    verb.verb(app, "broken")(broken)
    return app


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.InputError("x"), 3),
        (errors.ArtifactError("x"), 4),
        (errors.LayoutError("x"), 5),
        (errors.DivergedError("x"), 6),
        (errors.MissingExtraError("x"), 7),
        (errors.SystemFailure("x"), 8),
        (FileNotFoundError(2, "No such file", "runs.csv"), 3),
        (PermissionError(13, "Permission denied", "runs.csv"), 8),
        (OSError(28, "No space left on device"), 8),
        (MemoryError(), 8),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 7),
        (ModuleNotFoundError("No module named 'plotly'", name="plotly.io"), 7),
        (ModuleNotFoundError("No module named 'forescale.nowhere'", name="forescale.nowhere"), 1),
        (KeyError("bug"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(run: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int) -> None:
    monkeypatch.setattr(main, "build", lambda: fails_with(error))
    ended = run("broken", "--json")
    assert ended.code == code
    assert ended.json["error"]["code"] == code
    assert ended.json["error"]["remedy"] or isinstance(error, errors.ForescaleError)
    plain = run("broken")
    assert plain.code == code
    assert not plain.out
    assert "Traceback" not in plain.err
    assert "Traceback" in run("broken", "--debug").err or isinstance(error, KeyboardInterrupt)


def test_our_own_bug_asks_for_a_report(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "build", lambda: fails_with(KeyError("loss")))
    assert "please report it" in run("broken").err


def test_json_keeps_standard_output_clean() -> None:
    """Prints of rooms and of child processes go to standard error, by file descriptor too."""
    ended = python(
        "import os, sys, typer; from forescale.cli import main, verb\n"
        "app = typer.Typer(); app.callback()(lambda: None)\n"
        "def noisy(common):\n    'Noisy.'\n    print('from python'); os.system('echo from a child'); return {'x': float('nan')}\n"
        "verb.verb(app, 'noisy')(noisy); main.build = lambda: app; sys.exit(main.main(['noisy', '--json']))"
    )
    assert ended.returncode == 0
    assert ended.stdout == '{"x": null}\n'
    assert "from python" in ended.stderr
    assert "from a child" in ended.stderr


def test_a_closed_pipe_is_no_error() -> None:
    """The reader takes one line and leaves while a long table is still being printed."""
    code = (
        "import sys, typer; from forescale.cli import main, verb\n"
        "app = typer.Typer(); app.callback()(lambda: None)\n"
        "def long(common):\n    'Long.'\n    return {'rows': [{'n': i, 'text': 'x' * 200} for i in range(2000)]}\n"
        "verb.verb(app, 'long')(long); main.build = lambda: app; sys.exit(main.main(['long', *sys.argv[1:]]))"
    )
    for options in ([], ["--json"]):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
        process.stderr.close()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["plan", "--help"], 0),
        (["--version"], 0),
        (["example", "recipe"], 0),
        (["nosuch", "--json"], 2),
    ],
)
def test_a_reader_that_never_reads(words: list[str], code: int) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "forescale", *words], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60
        )
    finally:
        os.close(write)
    assert (ended.returncode, ended.stderr) == (code, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["example", "recipe"], ["example", "recipe", "--json"], ["nosuch", "--json"]])
def test_a_full_disk_behind_standard_output(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "forescale", *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert ended.returncode == 8
    assert "No space left" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_library_does_not_choose_the_exit_code(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "build", lambda: fails_with(SystemExit(3)))
    assert run("broken", "--json").json["error"]["code"] == 1


@pytest.mark.parametrize(("broken", "code"), [("standard output", 0), ("a worker's pipe", 8)])
def test_only_a_closed_standard_output_is_no_error(broken: str, code: int) -> None:
    body = "print('x', flush=True)" if broken == "standard output" else "raise BrokenPipeError(32, 'Broken pipe')"
    script = (
        "import sys, typer; from forescale.cli import main, verb\n"
        "app = typer.Typer(); app.callback()(lambda: None)\n"
        f"def talk(common):\n    'Talk.'\n    {body}\n"
        "verb.verb(app, 'talk')(talk); main.build = lambda: app; sys.exit(main.main(['talk']))"
    )
    read, write = os.pipe()
    if code == 0:
        os.close(read)
    ended = subprocess.run([sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert ended.returncode == code, ended.stderr


def test_ctrl_c_says_how_to_go_on() -> None:
    code = (
        "import sys, time, typer; from forescale.cli import main, verb\n"
        "app = typer.Typer(); app.callback()(lambda: None)\n"
        "def slow(common):\n    'Slow.'\n    print('ready', file=sys.stderr, flush=True); time.sleep(60)\n"
        "verb.verb(app, 'slow')(slow); main.build = lambda: app; sys.exit(main.main(['slow', '--json']))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["error"]["remedy"].startswith("run the same command again")


def test_every_extra_of_the_package_is_known() -> None:
    """A module that an extra brings is told with the extra's own name."""
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for module, extra in failures.EXTRA_OF.items():
        assert any(requirement.startswith(module) for requirement in extras[extra]), (module, extra)
