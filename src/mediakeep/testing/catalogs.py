"""What must hold of every catalog."""

from mediakeep.testing.books import BooksContract
from mediakeep.testing.contents import ContentsContract
from mediakeep.testing.ends import EndsContract
from mediakeep.testing.leases import LeasesContract
from mediakeep.testing.lists import ListsContract
from mediakeep.testing.many import ManyContract
from mediakeep.testing.refs import RefsContract


class CatalogContract(
    RefsContract,
    ContentsContract,
    ManyContract,
    ListsContract,
    EndsContract,
    LeasesContract,
    BooksContract,
):
    """What must hold of every catalog. Override `make_catalog`; each test gets a fresh one."""
