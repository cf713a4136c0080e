"""Shapes: a captioned world made on the fly, in which right and wrong are decided.

A scene is objects on a background (``world``). ``render`` draws it (``drawing``), and
``read`` finds out what a picture shows (``reading``) and how clearly (``look``,
``outline``, ``evidence``). ``describe`` writes a caption (``language``), and ``parse``
finds out what a caption demands (``grammar``, ``parsing``, ``demand``). ``judge`` says
which demands a scene or a picture meets, ``reasons`` why not (``verdict``).
``ShapesDataset`` puts it all into batches (``dataset``).
"""

from mmgen.data.shapes.dataset import TAUGHT, ShapesDataset
from mmgen.data.shapes.demand import TASKS, Demand, ObjectDemand, facts
from mmgen.data.shapes.drawing import palettes, render
from mmgen.data.shapes.evidence import REASONS, Evidence, Named, ObjectEvidence
from mmgen.data.shapes.language import describe, language_of
from mmgen.data.shapes.parsing import parse
from mmgen.data.shapes.reading import Readings, explain, read
from mmgen.data.shapes.verdict import NOT_SHOWN, judge, reasons
from mmgen.data.shapes.world import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    KINDS,
    MENTIONS,
    POSITIONS,
    RELATIONS,
    SHAPES,
    SIZES,
    SPLITS,
    Object,
    Scene,
    SceneTable,
    sample_scenes,
)

__all__ = [
    "ATTRIBUTES",
    "BACKGROUNDS",
    "COLOURS",
    "HELD_OUT",
    "KINDS",
    "MENTIONS",
    "NOT_SHOWN",
    "POSITIONS",
    "REASONS",
    "RELATIONS",
    "SHAPES",
    "SIZES",
    "SPLITS",
    "TASKS",
    "TAUGHT",
    "Demand",
    "Evidence",
    "Named",
    "Object",
    "ObjectDemand",
    "ObjectEvidence",
    "Readings",
    "Scene",
    "SceneTable",
    "ShapesDataset",
    "describe",
    "explain",
    "facts",
    "judge",
    "language_of",
    "palettes",
    "parse",
    "read",
    "reasons",
    "render",
    "sample_scenes",
]
