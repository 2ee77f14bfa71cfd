"""The faults that can be planted in a module: each replaces one piece of its text.

Texts for people are left alone (docstrings, f-strings, what is raised, `EXAMPLE_...`), and so are annotations, imports
and log lines.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[str, ...]] = {
    ast.Lt: ("<", "<=", ">="),
    ast.LtE: ("<=", "<", ">"),
    ast.Gt: (">", ">=", "<="),
    ast.GtE: (">=", ">", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
"""The comparison as it is written, then what is put in its place."""

ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.Mod: "*",
    ast.Pow: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}
PAIRS = (("min", "max"), ("any", "all"), ("minimum", "maximum"), ("floor", "ceil"), ("issuperset", "issubset"))
NAMES = {**dict(PAIRS), **{right: left for left, right in PAIRS}, "sorted": "list", "startswith": "endswith"}
LOGGING = ("debug", "info", "warning", "error", "exception")


Piece = tuple[int, int, int, int]
"""First line and byte, last line and byte, as `ast` counts them."""

Source = Callable[[ast.expr], str]
"""The text of an expression."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: `after` in place of the characters from `start` to `end` of the module's UTF-8 text.

    `where` is the function, `old` and `new` the affected lines; together with the path they identify the mutant
    when lines above it come or go.
    """

    path: str
    where: str
    line: int
    start: int
    end: int
    after: str
    old: str
    new: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What a list of equivalent mutants refers to."""
        return self.path, self.where, self.old, self.new

    def plant(self, text: str) -> str:
        """The module's text with the fault."""
        raw = text.encode()
        return (raw[: self.start] + self.after.encode() + raw[self.end :]).decode()


def mutants_of(path: str, text: str) -> list[Mutant]:
    """Every fault that the operators know for a module, in the order of its text."""
    return list(_Finder(path, text).all())


class _Finder:
    def __init__(self, path: str, text: str) -> None:
        self.path, self.text, self.raw = path, text, text.encode()
        self.lines = [0]
        for line in self.raw.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))

    def all(self) -> Iterator[Mutant]:
        yield from self.walk(ast.parse(self.text), "")

    def walk(self, node: ast.AST, where: str) -> Iterator[Mutant]:
        """The faults of a node and of what it contains."""
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            where = f"{where}.{node.name}" if where else node.name
        for piece, after in changes(node, self.source):
            yield self.mutant(piece, after, where)
        for child in _children(node):
            yield from self.walk(child, where)

    def mutant(self, piece: Piece, after: str, where: str) -> Mutant:
        start, end = self.offset(*piece[:2]), self.offset(*piece[2:])
        first, last = self.lines[piece[0] - 1], self.lines[piece[2]]
        old, new = self.raw[first:last], self.raw[first:start] + after.encode() + self.raw[end:last]
        return Mutant(self.path, where, piece[0], start, end, after, _one_line(old), _one_line(new))

    def offset(self, line: int, column: int) -> int:
        return self.lines[line - 1] + column

    def source(self, node: ast.expr | ast.stmt) -> str:
        line, column, last, end = _piece(node)
        return self.raw[self.offset(line, column) : self.offset(last, end)].decode()


def changes(node: ast.AST, source: Source) -> Iterator[tuple[Piece, str]]:
    """What to replace in the node itself, and by what."""
    match node:
        case ast.Compare() | ast.BoolOp():
            yield from ((_piece(node), after) for after in _other_truths(node, source))
        case ast.If(test=test) | ast.IfExp(test=test):
            yield _piece(test), "True"
            yield _piece(test), "False"
        case ast.comprehension(ifs=tests):
            yield from ((_piece(test), "True") for test in tests)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield _piece(node), _bracketed(operand, source)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in ARITHMETIC:
            yield _piece(node), f"({_bracketed(left, source)} {ARITHMETIC[type(op)]} {_bracketed(right, source)})"
        case ast.Constant(value=bool() | int() | float() as value):
            others = [not value] if isinstance(value, bool) else [value + 1, value - 1]
            yield from ((_piece(node), f"({other!r})") for other in others)
        case ast.Call():
            yield from _other_calls(node)
        case ast.stmt():
            yield from _other_statements(node)


def _other_truths(node: ast.Compare | ast.BoolOp, source: Source) -> Iterator[str]:
    """Another comparison; the other of `and` and `or`; one of the conditions left out."""
    if isinstance(node, ast.Compare):
        written = [_bracketed(node.left, source)]
        for op, right in zip(node.ops, node.comparators, strict=True):
            written += [COMPARISONS[type(op)][0], _bracketed(right, source)]
        for i, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)][1:]:
                yield " ".join([*written[: 2 * i + 1], other, *written[2 * i + 2 :]])
        return
    joint, other = (" and ", " or ") if isinstance(node.op, ast.And) else (" or ", " and ")
    parts = [_bracketed(value, source) for value in node.values]
    yield f"({other.join(parts)})"
    for i in range(len(parts)):
        yield f"({joint.join(parts[:i] + parts[i + 1 :])})"


def _other_statements(node: ast.stmt) -> Iterator[tuple[Piece, str]]:
    """A statement left out; None returned."""
    match node:
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield _piece(value), "None"
        case ast.Expr(value=ast.Call() as call) if _logs(call):
            pass
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Delete() | ast.Raise():
            yield _piece(node), "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield _piece(node), "pass"
        case ast.Break() | ast.Continue():
            yield _piece(node), "continue" if isinstance(node, ast.Break) else "break"


def _other_calls(call: ast.Call) -> Iterator[tuple[Piece, str]]:
    """Another function of the same shape; an argument by name left out."""
    _, _, last, end = _piece(call.func)
    func = call.func
    name = func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""
    if name in NAMES:
        yield (last, end - len(name.encode()), last, end), NAMES[name]
    arguments: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
    given = sorted(_piece(each) for each in arguments)
    for keyword in call.keywords:
        at = given.index(_piece(keyword))
        if keyword.arg is not None and at:
            yield (*given[at - 1][2:], *given[at][2:]), ""
        elif keyword.arg is not None and len(given) > 1:
            yield (*given[0][:2], *given[1][:2]), ""


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """What of a node is searched further."""
    if isinstance(node, ast.JoinedStr | ast.Raise | ast.Import | ast.ImportFrom):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _logs(node.value):
        return
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Assign | ast.AnnAssign):
        [target, *_] = node.targets if isinstance(node, ast.Assign) else [node.target]
        if isinstance(target, ast.Name) and target.id.startswith("EXAMPLE_"):
            return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child


def _logs(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr in LOGGING


def _piece(node: ast.expr | ast.stmt | ast.keyword) -> Piece:
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    return node.lineno, node.col_offset, node.end_lineno, node.end_col_offset


def _bracketed(node: ast.expr, source: Source) -> str:
    plain = isinstance(node, ast.Name | ast.Attribute | ast.Constant | ast.Call | ast.Subscript)
    return source(node) if plain else f"({source(node)})"


def _one_line(lines: bytes) -> str:
    return " ".join(lines.decode().split())
