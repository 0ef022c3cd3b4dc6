"""What is said of work that takes long, where nobody sees a wheel turn."""

from __future__ import annotations

import sys
import time

import pytest

from fomo.app.commands import console


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "LINE_EVERY", 0.1)


@pytest.mark.parametrize("block", [console.working, console.alive])
def test_lines_come_while_the_work_lasts_and_no_longer(block, capsys: pytest.CaptureFixture[str]) -> None:
    with block("forecasting"):
        time.sleep(0.35)
    said = capsys.readouterr()
    assert said.out == "" and 1 <= said.err.count("forecasting: 0 s so far\n") <= 3
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_they_wait_where_something_else_was_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "LINE_EVERY", 0.5)
    with console.alive("fine-tuning") as heard:
        for _ in range(9):
            time.sleep(0.1)
            heard()
    assert capsys.readouterr().err == ""


def test_an_error_ends_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), console.working("reading"):
        raise ValueError("no")
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_none(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with console.alive("evaluating"):
        time.sleep(0.25)
    assert capsys.readouterr().err == ""
