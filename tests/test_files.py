"""Canonical names and safe removal, also where the system gives no handles on names."""

import os

import pytest

from mediakeep import files
from mediakeep.files import Remover, look


@pytest.fixture(params=[True, False], ids=["by handle", "by name"])
def handles(request, monkeypatch):
    if request.param and not files._HANDLES:
        pytest.skip("this system gives no handles on names")
    monkeypatch.setattr(files, "_HANDLES", request.param)
    return request.param


def test_every_spelling_has_one_canonical_name(handles, make, tmp_path, monkeypatch):
    path = make()
    (tmp_path / "link").symlink_to(path.parent)
    monkeypatch.chdir(path.parent)
    for name in (path, path.name, f"./{path.name}", tmp_path / "link" / path.name):
        assert look(str(name)) == (str(path), 16)


def test_a_name_that_only_looks_deleted_is_a_name(handles, make):
    path = make("photo.jpg (deleted)")
    assert look(str(path)).location == str(path)


def test_a_symlink_has_its_own_name_and_its_targets_size(handles, make, folder):
    path = make()
    (folder / "link").symlink_to(path)
    assert look(str(folder / "link")) == (str(folder / "link"), 16)


def test_a_root_level_file_has_a_canonical_name(handles):
    entries = [e.path for e in os.scandir("/") if e.is_file()]
    for name in entries[:1]:
        assert look(name).location == name


def test_removal_takes_files_and_links_and_leaves_the_rest(handles, make, folder):
    a, b = make("a"), make("b")
    (folder / "link").symlink_to(b)
    (folder / "dir").mkdir()
    with Remover() as remover:
        for name in ("a", "link", "dir", "gone", "nowhere/gone", "a/below"):
            remover.remove(str(folder / name))
    assert not a.exists()
    assert sorted(os.listdir(folder)) == ["b", "dir"]


def test_removal_refuses_a_folder_that_became_a_symlink(handles, make, folder, tmp_path):
    path = make()
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "moved")
    with Remover() as remover, pytest.raises(OSError, match="symbolic link now"):
        remover.remove(str(path))
    assert path.exists()


def test_removal_leaves_no_handle_open(handles, make):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with Remover() as remover:
        for i in range(5):
            remover.remove(str(make(str(i))))
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before
