"""Tables: the same values as HTML and as text, with their intervals."""

import re

import pytest

from mmgen import explore
from mmgen.metrics.interval import Proportion, wilson


def _cells(table):
    return re.findall(r"<td>(.*?)</td>", table._repr_html_())


def test_a_proportion_stands_with_its_interval_and_number():
    share = Proportion(30, 40)
    low, high = wilson(30, 40)
    for value in (share, share.to_json()):
        text = repr(explore.table({"one": {"right": value}}))
        assert f"0.75 [{low:.2f}, {high:.2f}]" in text
        assert "95 % intervals; n = 40." in text


def test_different_numbers_of_trials_are_said():
    rows = {"a": {"x": Proportion(1, 10)}, "b": {"x": Proportion(1, 2000)}}
    assert "n = 10 to 2,000" in repr(explore.table(rows))


def test_html_and_text_hold_the_same_values():
    rows = {
        "first": {"steps": 3500, "loss": 0.12345, "name": "hinge"},
        "second": {"loss": 1.0},
    }
    table = explore.table(rows, title="Two runs", note="One seed.", corner="run")
    assert _cells(table)[1:] == ["3,500", "0.12", "hinge", "–", "1.00", "–"]
    lines = repr(table).splitlines()
    assert lines[0] == "Two runs" and lines[-1] == "One seed."
    assert [line.split() for line in lines[1:-1]] == [
        ["run", "steps", "loss", "name"],
        ["first", "3,500", "0.12", "hinge"],
        ["second", "–", "1.00", "–"],
    ]


def test_a_page_reads_it_in_either_theme():
    page = explore.table({"<b>": {"&": "<i>"}})._repr_html_()
    assert "<b>" not in page and "<i>" not in page and "&amp;" in page
    assert 'class="dataframe' in page  # the theme's own, light and dark
    assert "color" not in page and "style" not in page
    assert page.count('scope="row"') == 1 and page.count('scope="col"') == 1


def test_no_values_are_an_error():
    with pytest.raises(ValueError, match="at least one value"):
        explore.table({"empty": {}})


def test_published_weights_are_compared_by_their_files():
    table = explore.compare(
        {"CGAN": "cgan-shapes64", "cVAE": "cvae-shapes64"},
        "semantic_accuracy",
        "overall",
    )
    measured = explore.results("cgan-shapes64")["metrics"][explore.DATA["one object"]]
    share = measured["metrics"]["semantic_accuracy"]["overall"]
    assert f"{share['value']:.2f} [{share['low']:.2f}, {share['high']:.2f}]" in repr(
        table
    )
    assert table.columns == ["CGAN", "cVAE"]
    assert list(table.cells) == list(explore.DATA)


def test_a_metric_that_no_file_has_is_an_error():
    with pytest.raises(ValueError, match=r"cgan-shapes64.*no_such_metric"):
        explore.compare({"CGAN": "cgan-shapes64"}, "no_such_metric")
