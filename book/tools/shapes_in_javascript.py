"""The world of Shapes for the page: its numbers, its grammar, captions to begin with.

The page decides whether a picture shows what its caption says with the same limits,
outlines and sentences as ``mmgen``. They stand in the package alone, and are written
from there: numbers as JSON, the functions of the grammar's rules, which are short
lambdas, translated.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from mmgen.data.shapes import (
    demand,
    describe,
    drawing,
    evidence,
    grammar,
    look,
    outline,
    parsing,
    reading,
    sample_scenes,
    verdict,
    world,
)
from mmgen.data.shapes.drawing import outline as outline_of
from mmgen.data.shapes.drawing import palettes

MODULES = (world, drawing, reading, look, outline, evidence, demand, verdict, parsing)
SUGGESTED = 40  # captions of each language and number of objects


def world_module() -> str:
    """A JavaScript module whose default is the world's numbers."""
    colours, grounds = palettes()
    numbers = {
        **{one.__name__.rpartition(".")[2]: _constants(one) for one in MODULES},
        "palettes": {"objects": colours.tolist(), "grounds": grounds.tolist()},
        "polygons": [
            {"points": points.tolist(), "corner": corner}
            for points, corner in map(outline_of, world.SHAPES)
        ],
        "rounded": [
            [outline._rounded(shape, level).round(7).tolist() for shape in world.SHAPES]
            for level in outline.ROUNDINGS
        ],
        "radii": list(outline.outline_radii()),
        "refusals": {
            name: value._asdict()
            for name, value in vars(grammar).items()
            if isinstance(value, grammar.Refusal)
        },
    }
    return f"export default {_json(numbers)};\n"


def captions() -> dict[str, list[list[str]]]:
    """Captions to suggest, by language: those of one object, and those of two."""
    scenes = [sample_scenes(SUGGESTED, seed=1, objects=(count,)) for count in (1, 2)]
    return {
        language: [
            [describe(scene, language, i) for i, scene in enumerate(table)]
            for table in scenes
        ]
        for language in ("en", "zh")
    }


def _constants(module: ModuleType) -> dict[str, Any]:
    """Numbers, names and tables that a module spells in capital letters."""
    found = {}
    for name, value in vars(module).items():
        of_world = module is not world and value is getattr(world, name, module)
        if not name.strip("_").isupper() or of_world:
            continue
        if isinstance(value, range):
            value = list(value)
        try:
            found[name.strip("_")] = json.loads(_json(value))
        except TypeError:
            continue  # a pattern, a tensor, a set
    return found


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# The grammar


def grammar_module() -> str:
    """A JavaScript module with the lexicon and the rules of both languages.

    A rule is its parts and a function from their values. The functions call those of
    ``build``, the page's own part of the grammar.
    """
    source = ast.parse(inspect.getsource(grammar))
    rules = {
        target.id: node.value
        for node in ast.walk(source)
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Dict)
        for target in [node.target]
        if isinstance(target, ast.Name)
    }
    parts = ['import * as build from "../playground/shapes/build.mjs";']
    for language, name in (("en", "_EN_RULES"), ("zh", "_ZH_RULES")):
        lexicon = grammar.grammar(language)
        phrases = _json(_plain(lexicon.phrases))
        parts.append(
            f"export const {language} = {{phrases: {phrases},\n"
            f"known: {_json(sorted(lexicon.known))},\n"
            f"rules: {javascript(rules[name])}}};"
        )
    return "\n".join(parts) + "\n"


def _plain(value: Any) -> Any:
    """A lexicon's values; its refusals are tuples, and would lose their names."""
    if isinstance(value, grammar.Refusal):
        return value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _camel(name: str) -> str:
    """A name as JavaScript writes it, but for capitals: _and_more is andMore."""
    first, *others = name.strip("_").split("_")
    if first.isupper():
        return name
    return first + "".join(word.capitalize() for word in others)


def javascript(node: ast.expr, own: frozenset[str] = frozenset()) -> str:
    """An expression of the grammar's rules in JavaScript.

    Args:
        node: of lambdas, calls, tuples, names, constants and what else rules are made
            of.
        own: parameters of the lambdas around it; every other name is ``build``'s.

    Raises:
        ValueError: an expression of another kind.
    """

    def of(part: ast.expr) -> str:
        return javascript(part, own)

    match node:
        case ast.Constant(value=value):
            return _json(value)
        case ast.Name(id=name):
            return name if name in own else f"build.{_camel(name)}"
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return f"[{', '.join(map(of, parts))}]"
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return "{" + ",\n".join(f"{of(k)}: {of(v)}" for k, v in pairs if k) + "}"
        case ast.Starred(value=value):
            return f"...{of(value)}"
        case ast.Attribute(value=value, attr=name):
            return f"{of(value)}.{name}"
        case ast.Subscript(value=value, slice=place):
            return f"{of(value)}[{of(place)}]"
        case ast.BoolOp(op=ast.Or(), values=[first, ast.Tuple(elts=[])]):
            return f"({of(first)} ?? [])"
        case ast.Call(func=ast.Attribute(value=value, attr="_replace"), args=[]):
            changes = [f"{k.arg}: {of(k.value)}" for k in node.keywords]
            return f"({{...{of(value)}, {', '.join(changes)}}})"
        case ast.Call(func=function, args=args, keywords=[]):
            return f"{of(function)}({', '.join(map(of, args))})"
        case ast.Lambda(args=taken, body=body):
            names = [one.arg for one in taken.args]
            rest = [taken.vararg.arg] if taken.vararg else []
            written = [*names, *(f"...{one}" for one in rest)]
            inner = javascript(body, own | {*names, *rest})
            return f"({', '.join(written)}) => {inner}"
    raise ValueError(f"no way to write {ast.unparse(node)!r} in JavaScript.")
