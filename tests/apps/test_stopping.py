"""Being told to end while work is done in steps."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from threading import Thread

import pytest
import typer

from histocyte.apps.cli.stopping import Stopping, ending_with_a_word


@pytest.fixture(autouse=True)
def _signals_as_python_has_them() -> Iterator[None]:
    """Tests that run in the background of a shell inherit interrupts that are ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGTERM, before[1])


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_the_first_signal_is_noted_and_the_exit_code_is_the_shells(
    name: str, code: int, capfd: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with Stopping() as stopping:
        assert not stopping.asked()
        signal.raise_signal(signal.Signals[name])
        assert stopping.asked()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before
    ended = stopping.end("Three steps are done")
    assert isinstance(ended, typer.Exit)
    assert ended.exit_code == code
    said = capfd.readouterr().err
    assert f"{name}: ends after this step" in said
    assert f"histocyte: ended by {name}. Three steps are done. Run the same command again to go on." in said


def test_the_second_signal_ends_at_once() -> None:
    with Stopping():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with ending_with_a_word(), Stopping():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143


def test_before_anyone_asks_the_first_signal_ends_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    with Stopping(once_asked=True) as stopping, pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with ending_with_a_word(), Stopping(once_asked=True), pytest.raises(SystemExit):
        signal.raise_signal(signal.SIGTERM)
    assert "ended by SIGTERM" in capfd.readouterr().err
    with Stopping(once_asked=True) as stopping:
        assert not stopping.asked()
        signal.raise_signal(signal.SIGINT)
        assert stopping.asked()


def test_between_steps_or_not_the_end_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, ending_with_a_word():
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 143
    assert "histocyte: ended by SIGTERM. Run the same command again" in capfd.readouterr().err


def test_interrupts_that_the_shell_ignores_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for a command in the background
    try:
        with Stopping() as stopping:
            signal.raise_signal(signal.SIGINT)
        assert not stopping.asked()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_signals_are_left_alone() -> None:
    kept: list[object] = []

    def work() -> None:
        with Stopping(), ending_with_a_word():
            kept.append(signal.getsignal(signal.SIGTERM))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert kept == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX exit codes")
def test_a_command_ends_with_the_code_of_its_signal() -> None:
    code = """
import signal
from histocyte.apps.cli import main
from histocyte.apps.cli.stopping import Stopping

@main.app.command("work")
def work() -> None:
    with Stopping() as stopping:
        signal.raise_signal(signal.SIGTERM)
    raise stopping.end("Done")

main.run()
"""
    ended = subprocess.run([sys.executable, "-c", code, "work"], capture_output=True, text=True, check=False)
    assert ended.returncode == 143, ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX exit codes")
def test_at_once_means_without_waiting_for_threads() -> None:
    code = """
import signal, threading, time
from histocyte.apps.cli.stopping import Stopping

threading.Thread(target=time.sleep, args=(60,)).start()
with Stopping("ends soon", at_once=True):
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert ended.returncode == 143
    assert "SIGTERM: ends soon. Once more ends at once." in ended.stderr
    assert "ended by SIGTERM. Run the same command again to go on." in ended.stderr
