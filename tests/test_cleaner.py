"""The background sweep."""

import logging
import subprocess
import sys
import threading
from datetime import timedelta

import pytest

from mediakeep import MediaCleanerConfig, MediaMeta
from mediakeep.cleaner import Cleaner

EVERY = timedelta(milliseconds=1)


def config(*, enabled=True, max_age=timedelta(minutes=1), interval=EVERY) -> MediaCleanerConfig:
    return MediaCleanerConfig(enabled=enabled, max_age=max_age, interval=interval)


class Swept:
    """Counts sweeps, and lets a test wait for them."""

    def __init__(self) -> None:
        self.count = 0
        self._more = threading.Condition()

    def __call__(self) -> None:
        with self._more:
            self.count += 1
            self._more.notify_all()

    def wait(self, more: int) -> None:
        with self._more:
            target = self.count + more
            assert self._more.wait_for(lambda: self.count >= target, timeout=30)


def running() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "mediakeep-cleaner" and t.is_alive()]


def test_it_sweeps_until_it_is_stopped_and_starts_again(caplog):
    swept = Swept()
    cleaner = Cleaner(config(), swept)
    for _ in range(3):
        cleaner.start()
    assert len(running()) == 1
    assert running()[0].daemon
    assert "media cleaner enabled" in caplog.text
    swept.wait(3)
    for _ in range(3):
        cleaner.stop()
    assert running() == []
    count = swept.count
    cleaner.start()
    swept.wait(2)
    cleaner.stop()
    assert swept.count > count


def test_it_does_not_start_when_it_is_disabled(caplog):
    Cleaner(config(enabled=False), Swept()).start()
    assert running() == []
    assert caplog.text == ""


@pytest.mark.parametrize(
    "times", [{"max_age": timedelta(0)}, {"interval": timedelta(0)}, {"interval": timedelta(seconds=-1)}]
)
def test_it_warns_and_does_not_start_without_a_positive_time(caplog, times):
    cleaner = Cleaner(config(**times), Swept())
    cleaner.start()
    cleaner.stop()
    assert running() == []
    assert [r.levelno for r in caplog.records] == [logging.WARNING]


def test_a_sweep_that_raises_is_logged_and_the_next_one_still_runs(caplog):
    swept = Swept()

    def sweep() -> None:
        swept()
        raise ZeroDivisionError

    cleaner = Cleaner(config(), sweep)
    cleaner.start()
    swept.wait(3)
    cleaner.stop()
    assert "a sweep failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_stopping_waits_for_a_sweep_in_progress():
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def sweep() -> None:
        begun.set()
        assert go_on.wait(30)
        ended.set()

    cleaner = Cleaner(config(), sweep)
    cleaner.start()
    assert begun.wait(30)
    stopper = threading.Thread(target=cleaner.stop)
    stopper.start()
    stopper.join(0.05)
    assert stopper.is_alive()
    go_on.set()
    stopper.join(30)
    assert ended.is_set()
    assert running() == []


def test_a_sweep_may_stop_its_own_cleaner():
    stopped = threading.Event()

    def sweep() -> None:
        cleaner.stop()
        stopped.set()

    cleaner = Cleaner(config(), sweep)
    cleaner.start()
    assert stopped.wait(30)


def test_a_store_sweeps_in_the_background(opened, make, clock, caplog):
    store = opened(cleaner=config(max_age=timedelta(seconds=60)))
    path = make()
    store.store(path, MediaMeta(), "s")
    store.start()
    clock.advance(61)
    gone = threading.Event()
    for _ in range(3000):
        if not path.exists():
            break
        gone.wait(0.01)
    store.close()
    assert not path.exists()
    assert "swept: 1 refs expired, 1 files deleted (16 bytes)" in caplog.text
    assert running() == []


def test_a_store_without_a_cleaner_can_be_started_and_stopped(store):
    store.start()
    store.stop()
    assert running() == []


def test_a_running_cleaner_does_not_keep_the_interpreter_alive():
    program = (
        "from datetime import timedelta as t; import mediakeep as m\n"
        "s = m.FileMediaStore(cleaner=m.MediaCleanerConfig(max_age=t(1), interval=t(hours=1)))\n"
        "s.start(); print('done')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)
