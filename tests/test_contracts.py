"""Every catalog and every place for bytes keeps the shipped contracts."""

from pathlib import Path

import pytest

from mediakeep.blobs.local import LocalBlobs
from mediakeep.blobs.temporary import TemporaryBlobs
from mediakeep.catalogs.memory import MemoryCatalog
from mediakeep.catalogs.sqlite import SqliteCatalog
from mediakeep.testing import BlobsContract, CatalogContract


class _InFolder:
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path


class TestMemoryCatalog(CatalogContract):
    def make_catalog(self, clock):
        return MemoryCatalog(clock)


class TestSqliteCatalog(_InFolder, CatalogContract):
    def make_catalog(self, clock):
        return SqliteCatalog(self.folder / "catalog.db", clock, fsync=False)


class TestLocalBlobs(_InFolder, BlobsContract):
    def make_blobs(self):
        return LocalBlobs(self.folder / "blobs")


class TestTemporaryBlobs(_InFolder, BlobsContract):
    def make_blobs(self):
        return TemporaryBlobs(self.folder / "temporary")
