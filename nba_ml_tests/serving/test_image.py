"""The serving image: what its Dockerfile copies serves by itself, and its locks are the project's own.

Nothing is built here. The files that the Dockerfile copies are laid out as it says, and run with this environment's
libraries, of which those that are then loaded must all be in the image's lock.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from nba_ml.registry.systems.registered import Registered
from nba_ml_tests.serving.conftest import Published, point
from nba_ml_tests.serving.test_external import MOCK, cbm, needs_catboost, theirs

pytestmark = pytest.mark.slow

__all__ = ["cbm", "theirs"]  # fixtures

CHECKOUT = Path(__file__).resolve().parents[2]
SERVING = CHECKOUT / "nba_ml/serving"
DOCKERFILE = (SERVING / "Dockerfile").read_text(encoding="utf-8")
LOCKS = {"": "requirements.lock", "catboost": "requirements-catboost.lock"}
"""The image's lock, by its build argument EXTRA."""

ANY_SOURCE = "NBA_ML_ARTIFACT_ROOT"


def copied(extra: str) -> dict[str, str]:
    """Where each file or folder of the checkout lies in the image, by the Dockerfile's COPY lines."""
    places = {}
    for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE):
        *sources, target = re.sub(r"\$\{EXTRA:\+(.*?)\}", r"\1" if extra else "", line).replace("$EXTRA", extra).split()
        for source in sources:
            places[source] = f"{target}{Path(source).name}" if target.endswith("/") else target
    return places


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's /app."""
    app = tmp_path_factory.mktemp("app")
    for source, target in copied("").items():
        (app / target).parent.mkdir(parents=True, exist_ok=True)
        if (CHECKOUT / source).is_dir():
            shutil.copytree(CHECKOUT / source, app / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CHECKOUT / source, app / target)
    return app


def run(image: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the image's folder, whose nba_ml then goes before the checkout's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NBA_ML_")}
    return subprocess.run(
        [sys.executable, *command], cwd=image, env={**kept, **environ}, capture_output=True, text=True, timeout=120
    )


def pins(lock: Path) -> dict[str, tuple[str, ...]]:
    """The entries of a lock: by distribution its version and then its hashes, sorted."""
    entries: dict[str, tuple[str, ...]] = {}
    for entry in re.split(r"\n(?=\S)", re.sub(r"^ *#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)):
        name, _, rest = entry.partition("==")
        entries[name] = (rest.split()[0], *sorted(re.findall(r"--hash=(\S+)", entry)))
    return entries


@pytest.mark.parametrize("environ", [{}, {ANY_SOURCE: ""}])
@pytest.mark.parametrize("options", [(), ("--source", "")])
def test_without_a_source_it_says_what_to_give(image: Path, environ: dict[str, str], options: tuple[str, ...]) -> None:
    """Guards the first start of a container: a forgotten variable was a traceback about a module of ours."""
    done = run(image, "-m", "nba_ml.cli.serve", *options, **environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "Give --source or set NBA_ML_ARTIFACT_ROOT" in done.stderr


def loaded_in(image: Path, extra: str, code: str) -> set[str]:
    """The modules that are loaded after the code, where no library can be that the image's lock leaves out."""
    locked = set(pins(SERVING / LOCKS[extra]))
    absent = [
        name
        for name, owners in packages_distributions().items()
        if name != "nba_ml" and not locked & {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners}
    ]
    prelude = f"""
import sys
absent = {absent!r}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""
    told = "\nprint('nba_ml from', nba_ml.__file__)\nprint(*sys.modules)"
    done = run(image, "-c", prelude + code + told)
    assert done.returncode == 0, done.stderr
    *_, origin, modules = done.stdout.splitlines()
    assert origin == f"nba_ml from {image / 'nba_ml/__init__.py'}"
    return set(modules.split())


def test_what_the_dockerfile_copies_serves(image: Path, published: Published) -> None:
    """Guards the lists of files and of libraries: a module or a distribution too few is a container that dies.

    Loads what a running one loads: the service, a model of ours and a rule beside it, Cloud Storage's library.
    """
    point(published.store, published.first, challenger=MOCK, share=10)
    code = f"""
import nba_ml.cli.serve, nba_ml.storage.cloud, uvloop
from nba_ml.serving.http.service import config_of, create_app
config_of(create_app({str(published.root)!r}, channel="champion")).load()
"""
    loaded = loaded_in(image, "", code)
    assert {"nba_ml.serving.http.connections", "google.cloud.storage", "httptools"} <= loaded


@needs_catboost
def test_the_image_with_catboost_serves_one(image: Path, published: Published, theirs: Registered) -> None:
    """Guards EXTRA=catboost: a library too few in the lock is a container that dies on the first CatBoost."""
    point(published.store, published.first, challenger=theirs.model, share=10)
    code = f"""
import nba_ml
from nba_ml.serving import Predictor
assert Predictor.load({str(published.root)!r}, channel="champion", try_apart=False).challenger is not None
"""
    assert "catboost" in loaded_in(image, "catboost", code)


@pytest.mark.parametrize(
    ("lock", "of"), [(LOCKS[""], "requirements.lock"), (LOCKS["catboost"], ".ci/challengers.lock")]
)
def test_the_image_has_the_versions_that_the_tests_ran_with(lock: str, of: str) -> None:
    """Guards against an image of other libraries than the tested ones, or of unverified ones, or from a named host."""
    image, project = pins(SERVING / lock), pins(CHECKOUT / of)
    assert {"xgboost", "starlette", "uvicorn", "google-cloud-storage", "pydantic"} <= set(image)
    assert {name: entry for name, entry in image.items() if project.get(name) != entry} == {}
    assert all(hashes and all(each.startswith("sha256:") for each in hashes) for _, *hashes in image.values())
    assert "://" not in (SERVING / lock).read_text(encoding="utf-8")
    assert not {name for name in image if name.startswith(("dagster", "duckdb", "nvidia"))}


def test_the_lock_with_catboost_is_the_other_and_more() -> None:
    """Guards the two images against drifting apart."""
    plain, more = (pins(SERVING / lock) for lock in LOCKS.values())
    assert "catboost" in more
    assert "catboost" not in plain
    assert {name: more.get(name) for name in plain} == plain


def test_the_build_argument_chooses_the_lock() -> None:
    """Guards the documented way to an image that serves a CatBoost: each choice names a lock that is there."""
    assert re.search(r'^ARG EXTRA=""$', DOCKERFILE, re.MULTILINE)
    assert "--build-arg EXTRA=catboost" in DOCKERFILE
    for extra, lock in LOCKS.items():
        assert [s for s, t in copied(extra).items() if t == "requirements.lock"] == [f"nba_ml/serving/{lock}"]
        assert all((CHECKOUT / source).exists() for source in copied(extra))


def test_the_image_runs_as_a_number() -> None:
    """Guards Kubernetes' runAsNonRoot, which refuses a container whose user is a name: that may be root's."""
    users = re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)
    assert len(users) == 1
    assert int(users[0]) >= 10_000
    assert f"useradd --create-home --uid {users[0]} " in DOCKERFILE
