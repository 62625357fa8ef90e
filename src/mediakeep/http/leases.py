"""Leases over HTTP: a hold that lapses unless whoever has it says in time that it is still there.

A lease belongs to the token that made it. Its name carries a proof of that, so that nobody ends or
renews what is not his, and no worker has to remember it.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial

from mediakeep.http.answers import Answer
from mediakeep.http.problems import Problem
from mediakeep.http.service import Call, Service


async def begin_lease(call: Call) -> Answer:
    """Hold the file for some time: nothing deletes it meanwhile, whatever ends."""
    seconds: float = call.body["seconds"]
    store = call.service.store

    def begin() -> int:
        call.look_up()
        number, _ = store._catalog.lease(call.ref, seconds)
        return number

    number = await call.service.read(begin, undo=partial(_end, call.service))
    name = f"{number:x}.{call.service.keys.seal(*_about(call, f'{number:x}'))}"
    _let_lapse(call.service, number, seconds)
    return Answer(201, {"lease": name, "expires_at": _after(seconds)})


async def renew_lease(call: Call) -> Answer:
    """Let a lease last for some time from now."""
    number, seconds = _number(call), call.body["seconds"]
    catalog = call.service.store._catalog
    if catalog.leases_lapse:
        lost = bool(await call.service.read(partial(catalog.renew, [number], seconds)))
    else:
        lost = number not in call.service.lapsing
    if lost:
        raise Problem(410, "LeaseEnded", "the lease has ended: make another, if the ref is still live")
    _let_lapse(call.service, number, seconds)
    return Answer(200, {"lease": call.path["lease"], "expires_at": _after(seconds)})


async def end_lease(call: Call) -> Answer:
    """End a lease; one that has ended is no error."""
    number = _number(call)
    timer = call.service.lapsing.pop(number, None)
    if timer is not None:
        timer.cancel()
    await call.service.reading.finish(partial(_end, call.service, number))
    call.service.feed.look_again()
    return Answer(204)


def _end(service: Service, number: int) -> None:
    waiting = service.store._catalog.end_lease(number)
    if waiting:
        service.store._reap(waiting)


def _let_lapse(service: Service, number: int, seconds: float) -> None:
    """Have a lease lapse by a timer, where the catalog's own never do."""
    if service.store._catalog.leases_lapse:
        return
    loop = asyncio.get_running_loop()
    if number in service.lapsing:
        service.lapsing.pop(number).cancel()

    def lapse() -> None:
        del service.lapsing[number]
        _end(service, number)  # such a catalog is in memory: it does not block

    service.lapsing[number] = loop.call_later(seconds, lapse)


def _number(call: Call) -> int:
    digits, _, proof = call.path["lease"].partition(".")
    if not call.service.keys.sealed(proof, *_about(call, digits)):
        raise Problem(404, "LeaseEnded", "the token has no such lease of this ref")
    return int(digits, 16)


def _about(call: Call, digits: str) -> tuple[str, str, str]:
    return call.grant.holder, call.path["id"], digits


def _after(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)
