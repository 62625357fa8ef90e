"""What is missing is named with its extra, and the core needs nothing: also when it is installed."""

import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SMOKE = ROOT / "tests" / "smoke"
PATIENCE = 240

sys.path.insert(0, str(SMOKE))
sys.path.insert(0, str(ROOT / "tools"))
from hints import EXTRAS, PROBES, SILENT  # noqa: E402
from release_contents import faults_of_version, faults_of_wheel  # noqa: E402

sys.path.remove(str(SMOKE))
sys.path.remove(str(ROOT / "tools"))

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command: object) -> subprocess.CompletedProcess[str]:
    words = [str(it) for it in command]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)


def smoke(python: object, *what: str) -> None:
    # Isolated, so that only what is installed there can be imported.
    isolated = [] if python == sys.executable else ["-I"]
    done = run(python, *isolated, SMOKE, *what)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stdout.rstrip().endswith(": 0 of 0"), "nothing was looked at"


@pytest.mark.parametrize("extra", sorted({it.extra for it in PROBES}))
def test_each_package_that_is_missing_is_named_with_its_extra(extra):
    smoke(sys.executable, "without", extra)


def test_each_package_of_each_extra_is_probed():
    probed = {(it.extra, module) for it in PROBES for module in it.modules}
    assert probed | SILENT == {
        (extra, module) for extra, modules in EXTRAS.items() for module in modules
    }
    assert not probed & SILENT


@pytest.mark.parametrize("extra", sorted(set(PROJECT["optional-dependencies"]) - {"all"}))
def test_the_packages_of_an_extra_are_those_that_its_probes_know(extra):
    """Whoever adds a package to an extra says here what is said without it."""
    wanted = {canonicalize_name(Requirement(it).name) for it in PROJECT["optional-dependencies"][extra]}
    homes = packages_distributions()
    given = {
        canonicalize_name(name) for module in EXTRAS[extra] for name in homes[module.partition(".")[0]]
    }
    assert wanted <= given, f"no probe knows what {wanted - given} brings"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    wheels = list(folder.glob("*.whl"))
    assert len(wheels) == 1, built.stdout + built.stderr
    return wheels[0]


@pytest.fixture(scope="module")
def core(tmp_path_factory, wheel):
    """Return the Python of an environment with mediakeep from its wheel, and nothing else."""
    folder = tmp_path_factory.mktemp("core")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    done = run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel)
    assert done.returncode == 0, done.stderr
    return python


def test_the_core_works_when_it_is_installed_alone(core):
    smoke(core, "works", "core")


def test_every_public_module_of_the_core_alone_can_be_imported_or_names_its_extra(core):
    smoke(core, "modules")


def test_the_core_alone_names_the_extra_of_all_else(core):
    smoke(core, "hints")


def test_the_command_without_its_extra_says_what_to_install_in_one_line(core):
    done = run(core.with_name("mediakeep"), "--version")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'mediakeep: the command line needs click: pip install "mediakeep[cli]"\n'


def test_the_wheel_has_what_the_source_has_and_nothing_else(wheel):
    assert list(faults_of_wheel(wheel)) == []


def test_a_wheel_that_has_lost_a_page_or_gained_a_test_is_told(wheel, tmp_path):
    other = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(other, "w") as changed:
        for name in source.namelist():
            if not name.endswith("base.html"):
                changed.writestr(name, source.read(name).replace(b"Version: 0", b"Version: 9"))
        changed.writestr("tests/test_store.py", b"")
    assert [it.split(" is ")[0] for it in faults_of_wheel(other)] == [
        "mediakeep/http/dashboard/templates/base.html",
        "tests/test_store.py",
        "the wheel",
    ]


@pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="needs the repository, and not its sources alone"
)
def test_tag_changelog_and_version_tell_the_same():
    assert list(faults_of_version()) == []


def test_the_pythons_that_are_named_are_those_that_are_tested():
    classes = [it.rpartition(" ")[2] for it in PROJECT["classifiers"] if "Python :: 3." in it]
    script = (ROOT / "tools" / "test-all.sh").read_text()
    assert f"for version in {' '.join(classes)}; do" in script
    assert PROJECT["requires-python"] == f">={classes[0]}"
