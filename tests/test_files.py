"""The folder of uploads and results: it is ours, and bounded in age and bytes."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import ResourceError
from demos.server import files
from tests.conftest import PATIENCE, wait_for


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "root", lambda: tmp_path)
    monkeypatch.setattr(files, "_last_sweep", -1e9)
    monkeypatch.setattr(files, "LOOK_EVERY", 0)
    monkeypatch.setattr(files, "LOOK_SHARE", 1e9)
    monkeypatch.setattr(files, "_full", (float("-inf"), False))
    return tmp_path


def write(path, nbytes=10, age=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0" * nbytes)
    past = time.time() - age
    os.utime(path, (past, past))
    return path


def names(folder):
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_old_files_go_with_their_folders(folder):
    write(folder / "ab12" / "old.png", age=files.KEEP_SECONDS + 60)
    write(folder / "results" / "cd34" / "old.json", age=files.KEEP_SECONDS + 60)
    young = write(folder / "results" / "ef56" / "young.json", age=60)
    assert files.sweep(folder, files.KEEP_SECONDS, 10**9) == 10
    assert names(folder) == {"young.json"}
    assert {p.name for p in folder.rglob("*") if p.is_dir()} == {"results", "ef56"}
    assert young.exists()


def test_uploads_that_were_cut_off_go_sooner(folder):
    write(folder / "tmpab12", age=files.CUT_SECONDS + 60)
    write(folder / "tmpcd34", age=5)  # still under way
    write(folder / "ab12" / "tmp.png", age=files.CUT_SECONDS + 60)  # a whole file of that name
    files.sweep(folder, files.KEEP_SECONDS, 10**9)
    assert names(folder) == {"tmpcd34", "tmp.png"}


def test_the_oldest_go_where_bytes_are_short(folder):
    for i in range(5):
        write(folder / f"h{i}" / f"{i}.png", nbytes=100, age=1000 - i)
    assert files.sweep(folder, files.KEEP_SECONDS, 250) == 200
    assert names(folder) == {"3.png", "4.png"}


def test_files_of_requests_at_work_stay_and_the_folder_counts_as_full(folder, settings):
    settings(VISION_HUB_FILES_MB="1")
    write(folder / "h" / "new.png", nbytes=1_500_000)
    assert files.is_full()
    assert names(folder) == {"new.png"}
    write(folder / "h" / "new.png", nbytes=1_500_000, age=120)
    assert not files.is_full()
    assert names(folder) == set()


def test_one_thread_looks_and_the_others_go_by_what_was_found_last(folder, settings, monkeypatch):
    settings(VISION_HUB_FILES_MB="1")
    write(folder / "h" / "new.png", nbytes=1_500_000)
    walks, entered, leave = list[Path](), threading.Event(), threading.Event()
    real = files._files

    def slow(path: Path) -> Iterator[tuple[float, int, Path]]:
        if path == folder:
            walks.append(path)
            entered.set()
            assert leave.wait(PATIENCE)
        yield from real(path)

    monkeypatch.setattr(files, "_files", slow)
    found = list[bool]()
    looking = threading.Thread(target=lambda: found.append(files.is_full()))
    looking.start()
    assert entered.wait(PATIENCE)
    assert not files.is_full()  # at once, although the other still walks
    leave.set()
    looking.join(PATIENCE)
    assert found == [True] and len(walks) == 1


def test_the_longer_a_look_takes_the_rarer_it_is(folder, monkeypatch):
    monkeypatch.setattr(files, "LOOK_SHARE", 0.02)
    monkeypatch.setattr(files, "sweep", lambda *_: time.sleep(0.2) or 0)
    before = time.monotonic()
    assert not files.is_full()
    assert files._full[0] >= before + 0.2 / 0.02


def test_old_files_go_while_nobody_asks_also_after_a_sweep_that_failed(folder, monkeypatch):
    old = write(folder / "ab12" / "old.png", age=files.KEEP_SECONDS + 60)
    young = write(folder / "cd34" / "young.png", age=60)
    real, sweeps, stop = files.sweep, list[Path](), threading.Event()

    def sweep(path: Path, *limits: float) -> int:
        sweeps.append(path)
        if len(sweeps) == 1:
            raise RuntimeError("the first one fails")
        return real(path, *limits)

    monkeypatch.setattr(files, "sweep", sweep)
    monkeypatch.setattr(files, "SWEEP_EVERY", 0.02)
    thread = files.keep_sweeping(stop)
    try:
        wait_for(lambda: not old.exists())
    finally:
        stop.set()
        thread.join(PATIENCE)
    assert not old.exists() and young.exists() and len(sweeps) > 1
    assert not thread.is_alive()


def test_a_result_has_a_folder_of_its_own_with_a_name_that_nobody_guesses(folder):
    paths = [files.result_path("a.png") for _ in range(2)]
    assert paths[0].parent != paths[1].parent
    assert all(len(path.parent.name) == 32 and path.parent.is_dir() for path in paths)


def test_results_are_swept_while_others_remove_them_too(folder):
    old = write(folder / "results" / "ab" / "a.png", age=files.KEEP_SECONDS + 60)
    (folder / "results" / "just-removed").symlink_to(folder / "nowhere")  # listed, not there
    assert files.result_path("b.png").parent.is_dir() and not old.exists()


def test_where_results_cannot_be_written_one_sentence_says_so(folder, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(ResourceError, match="disk is full"):
        files.result_path("a.png")


def test_the_folder_is_our_own(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    mine = files.claim()
    assert mine.parent == tmp_path / "gradio" and mine.stat().st_mode & 0o77 == 0
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(mine))
    assert files.claim() == mine  # as for an app that is imported twice


def test_where_the_folder_cannot_be_made_another_one_is_taken(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file"))
    elsewhere = files.claim()
    assert elsewhere.is_dir() and tmp_path not in elsewhere.parents
    elsewhere.rmdir()


def test_a_link_to_somebody_elses_folder_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "theirs").mkdir()
    (tmp_path / f"vision-hub-{os.getuid()}").symlink_to(tmp_path / "theirs")
    elsewhere = files.claim()
    assert tmp_path not in elsewhere.parents
    elsewhere.rmdir()
