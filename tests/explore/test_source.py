"""Source as a chapter shows it."""

import ast

import pytest

from mmgen import explore
from mmgen.layers.attention import LuongAttention
from mmgen.models import cgan


def test_only_the_first_line_of_a_docstring_stays():
    shown = explore.source(cgan.Generator)
    assert shown.text.startswith("class Generator(")
    assert "Args:" not in shown.text
    assert "def forward" in shown.text
    tree = ast.parse(shown.text)
    assert ast.get_docstring(tree.body[0])
    assert "\n" not in ast.get_docstring(tree.body[0])


def test_what_is_shown_runs_as_it_stands():
    def halved(x):
        """Half of it.

        More words.
        """
        return x / 2

    space = {}
    exec(explore.source(halved).text, space)
    assert space["halved"](3) == 1.5


def test_methods_and_several_things_stand_one_below_the_other():
    text = explore.source(cgan.CGANTask.training_step, LuongAttention).text
    assert text.startswith("def training_step(")
    assert "\n\n\nclass LuongAttention" in text


def test_it_is_highlighted_in_a_notebook_and_plain_elsewhere():
    shown = explore.source(LuongAttention)
    assert shown._repr_markdown_() == f"```python\n{shown!r}\n```"


def test_an_instance_has_no_source():
    with pytest.raises(TypeError):
        explore.source(3)
