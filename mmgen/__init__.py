"""mmgen: multimodal generation, taught and tested.

The package behind the book *Multimodal Generation*. Importing it is cheap: sub-packages
load torch, and only ``mmgen.explore`` ever touches matplotlib or ipywidgets, lazily.
"""

__version__ = "0.1.0"
