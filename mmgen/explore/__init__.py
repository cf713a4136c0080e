"""What chapters show: figures, tables, source code and widgets; and where they run.

matplotlib and ipywidgets load when drawn with.

Every figure stands on one light card, in every theme: its colours are chosen against
that card, so a page in dark mode shows the very figure that was checked in light mode.
"""

from mmgen.explore.figures import (
    CARD,
    INK,
    PALETTE,
    attention_overlay,
    image_grid,
    loss_curves,
    new_figure,
    show,
)
from mmgen.explore.interpolation import interpolate
from mmgen.explore.settings import SettingError, device, results, scale, train
from mmgen.explore.source import Source, source
from mmgen.explore.tables import DATA, Table, compare, table
from mmgen.explore.verdicts import verdicts
from mmgen.explore.widgets import frames_explorer, grid_explorer

__all__ = [
    "CARD",
    "DATA",
    "INK",
    "PALETTE",
    "SettingError",
    "Source",
    "Table",
    "attention_overlay",
    "compare",
    "device",
    "frames_explorer",
    "grid_explorer",
    "image_grid",
    "interpolate",
    "loss_curves",
    "new_figure",
    "results",
    "scale",
    "show",
    "source",
    "table",
    "train",
    "verdicts",
]
