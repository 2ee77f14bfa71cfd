"""What the tests of the snippets stand on: blocks, comments, and a printed output against the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from nba_ml_tests.docs.markdown import README, TUTORIAL, blocks, missing_line, shell_lines

PAGE = """# A page

<!-- snippet: exit 1 -->
```sh
nba-ml run \\
  --month 2021-12  # refused
```

It prints:

```text
2021-12 refused: ...
```

1. In a list:

    ```python
    print(1)
    ```
"""


def page_of(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


def test_a_block_has_its_comment_and_its_output(tmp_path: Path) -> None:
    """An exit code or an output that is not seen would never be compared."""
    shell, python = blocks(page_of(tmp_path, PAGE))
    assert (shell.exit_code, shell.output, shell.line) == (1, "2021-12 refused: ...\n", 4)
    assert list(shell_lines(shell.text)) == ["nba-ml run    --month 2021-12"]
    assert (python.language, python.text) == ("python", "print(1)\n")


def test_a_comment_that_nothing_understands_is_an_error(tmp_path: Path) -> None:
    """A slip in a comment would run a block that needs a cloud, or accept any exit code."""
    with pytest.raises(ValueError, match=r"page.md:4: no test understands 'exits 1'"):
        blocks(page_of(tmp_path, PAGE.replace("exit 1", "exits 1")))


@pytest.mark.parametrize(
    ("expected", "missing"),
    [
        ("a 1\nc", None),
        ("a ...\n...\nc", None),
        ("a 2", "a 2"),
        ("c\na 1", "a 1"),
        ("a", "a"),
    ],
)
def test_a_printed_output_is_compared_line_by_line_and_in_order(expected: str, missing: str | None) -> None:
    """An output that changed, or comes in another order, is on the page as it was."""
    assert missing_line(expected, "a   1\nb\nc\n") == missing


def test_the_readme_and_the_tutorial_leave_out_one_block() -> None:
    """A block that is marked as not run is promised to run by the page."""
    left_out = [b.text.strip() for page in (README, TUTORIAL) for b in blocks(page) if b.why_not_run]
    assert left_out == ["make test"]
