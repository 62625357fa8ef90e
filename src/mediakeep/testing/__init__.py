"""What a catalog and a place for blobs must do, as tests to inherit: for backends of your own too.

    class TestMyCatalog(CatalogContract):
        def make_catalog(self, clock):
            return MyCatalog(clock)

pytest collects the inherited `test_…` methods. Nothing here needs pytest itself.
"""

from mediakeep.testing.blobs import BlobsContract
from mediakeep.testing.catalogs import CatalogContract
from mediakeep.testing.clock import FakeClock

__all__ = ["BlobsContract", "CatalogContract", "FakeClock"]
