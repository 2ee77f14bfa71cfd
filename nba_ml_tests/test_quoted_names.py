"""Every name that a text quotes exists: in docstrings, help, errors, the documentation, the reasons of skipped tests.

Check keys are held against the registry, commands and options against click, extras against pyproject.toml, settings
against what the settings read, targets against the Makefile, limits, paths and links against what there is. Links
between the pages of the site are checked when it is built (`make docs`).
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

import nba_ml
from nba_ml.checks.registry import all_checks
from nba_ml.cli.main import main
from nba_ml.contract.quantiles import QUANTILE_COLUMNS
from nba_ml.contract.setting_names import SETTINGS
from nba_ml.contract.thresholds import Thresholds
from nba_ml.defs import release_checks as champion
from nba_ml.defs import slate_checks as slate_predictions
from nba_ml.defs.assets.slate_predictions import days_of
from nba_ml.defs.partitions import season_months
from nba_ml.settings import Settings
from nba_ml.storage.opening import BILLING_PROJECT
from nba_ml_tests.docs.markdown import blocks, pages, prose

ROOT = Path(nba_ml.__file__).parents[1]
DOCUMENTS = (*pages(), *(ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")))
"""What a reader of the project sees, apart from the code."""


def strings(file: Path) -> Iterator[tuple[str, str]]:
    """Where, and every string of a module; what an f-string fills in is a `{}`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        where = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.JoinedStr):
            parts = (str(p.value) if isinstance(p, ast.Constant) else "{}" for p in node.values)
            yield where, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield where, node.value


@cache
def texts(folder: str = "nba_ml", word: str = "") -> tuple[tuple[str, str], ...]:
    """Where and what: the strings of a package, of modules with the word only, and the documents."""
    modules = [file for file in sorted((ROOT / folder).rglob("*.py")) if word in file.read_text(encoding="utf-8")]
    return (*documents(), *(found for file in modules for found in strings(file)))


@cache
def documents() -> tuple[tuple[str, str], ...]:
    """Where and what: the documents, the lines that continue a command joined with it."""
    return tuple((str(each.relative_to(ROOT)), each.read_text().replace("\\\n", " ")) for each in DOCUMENTS)


# --- check keys ----------------------------------------------------------------------------------------------


@cache
def check_keys() -> set[str]:
    limits, months = Thresholds(), season_months("2021-10", "2021-12")
    graph = (champion.build(months, limits), slate_predictions.build(days_of(months), limits))
    others = {f"{key.asset_key.to_user_string()}.{key.name}" for each in graph for key in each.check_keys}
    return {check.key for check in all_checks(limits)} | others


def is_attribute(asset: str, name: str) -> bool:
    """Whether it is a name of a module that is called as the asset is: `predictions.make_predictions`."""
    modules = (ROOT / "nba_ml").rglob(f"{asset}.py")
    return any(re.search(rf"\b{name}\b", module.read_text(encoding="utf-8")) for module in modules)


def wrong_checks(text: str) -> list[str]:
    """Check keys in a text that are none."""
    keys = check_keys()
    assets = "|".join(sorted({key.partition(".")[0] for key in keys}))
    quoted = re.findall(rf"(?<![\w./])({assets})\.([a-z][a-z0-9_]*)\b(?!\()", text)
    endings = {"py", "json", "parquet"}
    return [
        f"{asset}.{name}"
        for asset, name in quoted
        if name not in endings and f"{asset}.{name}" not in keys and not is_attribute(asset, name)
    ]


def test_every_check_that_is_quoted_exists() -> None:
    """Guards the launchpad's example: an override of `xgboost_model.beats_last_10`, which is not a check."""
    assert [(where, wrong) for where, text in texts() if (wrong := wrong_checks(text))] == []


# --- commands and options ------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """The words of each `nba-ml ...` in backquotes or on a line of code of its own."""
    for quoted in re.findall(r"`(nba-ml [^`]+)`", text):
        yield quoted.split()
    for line in re.findall(r"^\s*(?:\$ )?(?:[A-Z]\w+ [a-z]+:\s+)?(nba-ml [a-z][^#`\n]*)", text, re.MULTILINE):
        yield line.split()


def wrong_command(words: list[str]) -> str | None:
    """What of a command line click does not know; None if it knows all."""
    at: click.Command = main
    options = {name for parameter in main.params for name in parameter.opts} | {"--help", "-h"}
    for word in words[1:]:
        name = word.strip("[]").rstrip(".,;")
        if name.endswith(":"):  # a sentence goes on
            return wrong_command([words[0], name[:-1]]) if at is main else None
        if name.startswith("-") and name.strip("-"):
            options |= {each for parameter in at.params for each in (*parameter.opts, *parameter.secondary_opts)}
            if name.partition("=")[0] not in options:
                return name
        elif isinstance(at, click.Group):
            if name in ("...", "{}") or name.isupper():
                return None
            several = name.split("\\|")  # a table's "a or b"
            if wrong := [each for each in several if each not in at.commands]:
                return wrong[0]
            at = at.commands[several[0]]
    return None


def test_every_command_and_option_that_is_quoted_exists() -> None:
    """Guards `nba-ml health --notify tries every target`, which is what --test does, and an option that was renamed."""
    wrong = {
        (where, " ".join(words), bad)
        for where, text in texts()
        for words in commands(text)
        if (bad := wrong_command(words)) is not None
    }
    assert wrong == set()


# --- extras, settings, headings ------------------------------------------------------------------------------


def test_every_extra_that_is_quoted_exists() -> None:
    """Guards `serve`, and the reasons of nine skipped tests, which named an extra that does not exist."""
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    quoted = [
        (where, name)
        for where, text in {*texts(), *texts("nba_ml_tests", "ml[")}
        for listed in re.findall(r"nba[_-]ml\[([\w, -]+)\]", text)
        for name in re.split(r",\s*", listed)
    ]
    assert len(quoted) > 3
    assert [(where, name) for where, name in quoted if name not in extras] == []


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, content: Mapping[str, str]) -> None:
        super().__init__(content)
        self.names: set[str] = set(content)

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.names.add(key)
        return super().get(key, default)


def settings_read(tmp_path: Path) -> set[str]:
    """The settings that `Settings` reads, with everything switched on."""
    asked = Asked(
        {
            "NBA_ML_HOME": str(tmp_path),
            "NBA_ML_SOURCE": "bigquery",
            "NBA_ML_BIGQUERY_PROJECT": "p",
            "NBA_ML_NOTIFY_EMAIL": "a@example.com",
            "NBA_ML_SMTP_HOST": "localhost",
        }
    )
    Settings.from_environment(asked)
    return asked.names


def test_every_setting_that_is_quoted_is_read_and_each_is_in_the_reference(tmp_path: Path) -> None:
    """Guards a setting that a message recommends and nothing reads, and one that only the source knows."""
    known = settings_read(tmp_path)
    known.add(BILLING_PROJECT)
    # A setting that a command's option takes from the environment.
    known |= {str(each) for name in main.commands for p in main.commands[name].params if (each := p.envvar)}
    assert {name for name in known if name.startswith("NBA_ML_")} == SETTINGS
    quoted = {(where, name) for where, text in texts() for name in re.findall(r"\bNBA_ML_[A-Z_]*[A-Z]\b(?!\*)", text)}
    assert [(where, name) for where, name in sorted(quoted) if name not in known] == []
    listed = (ROOT / "docs" / "pages" / "reference" / "settings.md").read_text()
    assert [name for name in sorted(known) if name.startswith("NBA_ML_") and f"`{name}`" not in listed] == []


def test_every_limit_of_a_snippet_exists() -> None:
    """Guards an example of a thresholds file with a limit that was renamed."""
    snippets = [block for page in pages() for block in blocks(page) if block.language == "toml"]
    assert snippets
    for block in snippets:
        Thresholds.model_validate(tomllib.loads(block.text))


def test_every_python_snippet_compiles() -> None:
    """Guards a snippet that cannot even be read; those of the tutorial are also run."""
    for block in (block for page in pages() for block in blocks(page) if block.language == "python"):
        compile(block.text, block.place, "exec")
        for module in re.findall(r"^from (nba_ml[\w.]*) import", block.text, re.MULTILINE):
            assert find_spec(module) is not None, block.place


# --- targets, modules, identifiers ---------------------------------------------------------------------------


def test_every_target_and_module_that_is_quoted_exists() -> None:
    """Guards `make` targets and `python -m` modules that were renamed."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for where, text in texts():
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets, where
        for module in re.findall(r"python -m (nba_ml[\w.]*\w)", text):
            assert find_spec(module) is not None, (where, module)


@cache
def words_of_the_code() -> set[str]:
    """Also the names of columns that the code makes."""
    files = [each for kind in ("*.py", "*.sql", "*.in") for each in (ROOT / "nba_ml").rglob(kind)]
    words = {word for file in files for word in re.findall(r"\w+", file.read_text(encoding="utf-8"))}
    return (
        words
        | set(QUANTILE_COLUMNS)
        | {path.stem for path in (ROOT / "nba_ml").rglob("*")}
        | {key.partition(".")[2] for key in check_keys()}
    )


def test_every_identifier_that_a_page_quotes_is_in_the_code() -> None:
    """Guards the name of a check, column, asset, schedule or field that was renamed, quoted without its asset."""
    quoted = {
        (str(page.relative_to(ROOT)), name)
        for page in pages()
        for code in re.findall(r"`([^`\n]+)`", prose(page))
        for name in re.findall(r"(?<![\w/.-])[a-z]+(?:_[a-z0-9]+)+(?![\w/.-])", code)
    }
    assert len(quoted) > 100
    unknown = {(where, name) for where, name in quoted if name not in words_of_the_code() | NOT_OURS}
    assert unknown == set()


NOT_OURS = {
    "nba_ml_tests",
    "has_nans",
    "max_concurrent_runs",
    "feature_0_value",
    "feature_32_value",
    "monthly_chain_xgboost_v1",
    "monthly_chain_xgboost_v2",
}
"""Names that pages quote and nba_ml does not define."""


# --- headings, paths, links ----------------------------------------------------------------------------------


def headings(page: Path) -> set[str]:
    return {line.lstrip("# ") for line in prose(page).splitlines() if re.match(r"#+ ", line)}


def anchor(heading: str) -> str:
    """As GitHub makes it, and the site."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_path_that_is_quoted_exists() -> None:
    """Guards an error or a page that sends its reader to a file that was moved."""
    path = re.compile(r"(?<![\w/.-])((?:nba_ml|nba_ml_tests|docs|\.ci|\.github)/[\w./-]*\w)")
    quoted = {(where, found) for where, text in texts() for found in path.findall(text)}
    # `nba_ml/pid` is a tag of Dagster's runs; `docs/site` is built.
    files = {(where, each) for where, each in quoted if each != "docs/site" and (where.endswith(".md") or "." in each)}
    assert len(files) > 20
    assert [(where, each) for where, each in sorted(files) if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_every_link_of_a_document_leads_somewhere(document: str) -> None:
    """Guards a link to a file that was moved or a heading that was renamed."""
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / document).read_text()):
        path, _, fragment = link.partition("#")
        if link.startswith("http"):
            assert link.startswith("https://")
            continue
        target = ROOT / path if path else ROOT / document
        assert target.exists(), link
        assert not fragment or fragment in {anchor(each) for each in headings(target)}, link
