"""`migrate`: the tables of a store in PostgreSQL, brought to the version at hand."""

from typing import Any

import click

from mediakeep.cli import plain
from mediakeep.cli.address import Address
from mediakeep.cli.display import to_json
from mediakeep.cli.options import Settings, pass_settings, takes_json, takes_store


@click.command()
@takes_store
@takes_json
@pass_settings
def migrate(settings: Settings) -> None:
    """Bring the tables of a store in PostgreSQL up to date.

    That is, to the version that this mediakeep reads and writes.

    One migrator works at a time, in one transaction: all of it, or nothing. Where there are no tables
    they are made. Its role must own the schema, or be allowed to make it. Workers need not be stopped.

    A store in a folder needs no such step: it is brought up to date when it is opened.
    """
    address = settings.address().check(bytes_needed=False)
    if address.shared:
        report = _migrate(address)
        before, after = report["from"], report["to"]
        done = (
            f"has version {after} already: nothing to do"
            if before == after
            else f"made, with version {after}"
            if not before
            else f"brought from version {before} to {after}"
        )
        text = f"{address}, schema {report['schema']}: {done}"
    else:
        from mediakeep.opening import is_store

        if not is_store(address.store):
            raise click.ClickException(f"no store at {address}: name another with --store")
        report = {"store": str(address), "schema": None, "from": None, "to": None, "migrated": False}
        text = f"{address}: a store in a folder is brought up to date by itself, when it is opened"
    click.echo(to_json(report) if settings.json else plain(text))


def _migrate(address: Address) -> dict[str, Any]:
    from mediakeep.cli.opening import check_database

    check_database(address)
    from mediakeep.catalogs import postgres_migrations as migrations
    from mediakeep.catalogs.postgres_schema import VERSION

    schema = address.schema or migrations.SCHEMA
    before = migrations.migrate(address.store, schema=schema)
    return {
        "store": str(address),
        "schema": schema,
        "from": before,
        "to": VERSION,
        "migrated": before < VERSION,
    }
