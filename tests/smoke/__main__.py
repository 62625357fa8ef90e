"""What an installed mediakeep gives, with nothing but the standard library and itself.

    python -I tests/smoke works EXTRA…      what these extras give, on real data
    python -I tests/smoke hints [EXTRA…]    what is missing is named with its extra, as the machine is
    python -I tests/smoke without [EXTRA…]  the same, each module of an extra hidden in turn
    python -I tests/smoke modules           every public module can be imported, or names its extra

Each thing is done in a forked child, so that nothing is there but what it imports itself.
`tools/release_check.py` runs this in fresh environments, and tests/test_extras.py in that of the suite.
PostgreSQL, an object store and a server are named by SMOKE_POSTGRES, SMOKE_OBJECTS (JSON) and
SMOKE_SERVER.
"""

import faulthandler
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from hints import EXTRAS, PROBES, hide, is_there, silently
from works import WORKS

PUBLIC = Path(__file__).parents[1] / "data" / "api.txt"
SECONDS = 180


def main(what: str, *extras: str) -> int:
    checks = {"works": works, "hints": hints, "without": without, "modules": modules}[what]
    done, failed = 0, 0
    for name, check in checks(*extras):
        done += 1
        said = apart(check)
        if said:
            failed += 1
            print(f"FAILED {what} {name}\n{said}", flush=True)
    print(f"{what}{' ' if extras else ''}{' '.join(extras)}: {done - failed} of {done}", flush=True)
    return int(failed > 0)


Check = tuple[str, Callable[[], None]]


def works(*extras: str) -> Iterator[Check]:
    for extra in extras:
        yield extra, WORKS[extra]


def hints(*extras: str) -> Iterator[Check]:
    """Probe what would use a module that is not there."""
    for probe in PROBES:
        missing = not all(is_there(it) for it in probe.modules)
        wanted = not extras or probe.extra in extras
        if wanted and missing and all(is_there(it) for it in probe.beside):
            yield str(probe), probe.check


def without(*extras: str) -> Iterator[Check]:
    """Probe with each module hidden that would be used."""
    for probe in PROBES:
        for module in probe.modules if not extras or probe.extra in extras else ():

            def check(probe=probe, module=module) -> None:
                hide(module)
                probe.check()

            yield f"{probe} without {module}", check


def modules() -> Iterator[Check]:
    for line in PUBLIC.read_text().splitlines():
        module = line.removeprefix("# ")
        if module != line:

            def check(module=module) -> None:
                try:
                    names = __import__(module, fromlist=["__all__"])
                    for name in names.__all__:
                        getattr(names, name)
                except ImportError as error:
                    hint = [it for it in EXTRAS if f'pip install "mediakeep[{it}]"' in str(error)]
                    assert hint, f"{module}: {type(error).__name__}: {error}"
                    assert not all(is_there(it) for it in EXTRAS[hint[0]]), f"{hint} is there: {error}"

            yield module, check


def apart(check: Callable[[], None]) -> str:
    """Return what went wrong in a child that does it in a folder of its own; nothing if all is well."""
    folder = tempfile.mkdtemp(prefix="smoke-")
    told, telling = os.pipe()
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        os.close(told)
        code = 1
        try:
            os.chdir(folder)
            check()
            code = 0
        except BaseException:
            os.write(telling, traceback.format_exc()[-4000:].encode())
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.close(telling)
    with open(told, encoding="utf-8", errors="replace") as said:
        words = said.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    shutil.rmtree(folder, ignore_errors=True)
    return words or (f"ended with {code}" if code else "")


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in ("works", "hints", "without", "modules"):
        sys.exit(__doc__)
    silently()
    sys.exit(main(*sys.argv[1:]))
