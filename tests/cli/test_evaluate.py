"""``mmgen evaluate``: a table and JSON."""

from __future__ import annotations

import json

from mmgen.cli import main
from tests.cli.calls import fails


class TestEvaluate:
    def test_a_table_and_json(self, weights, tmp_path, capsys):
        out = tmp_path / "report.json"
        words = ["--split", "validation", "--count", "70", "--out", str(out)]
        words += ["--data-objects", "2", "--data-kinds", "two"]
        assert main(["evaluate", str(weights), *words]) == 0
        report = json.loads(out.read_text())
        overall = report["metrics"]["semantic_accuracy"]["overall"]
        assert overall["n"] == report["count"] == 70
        assert overall["low"] <= overall["value"] <= overall["high"]
        assert report["data"]["options"]["objects"] == [2]
        assert report["data"]["split"] == "validation"
        assert "semantic accuracy: overall" in capsys.readouterr().out

    def test_a_run(self, run, capsys):
        assert main(["evaluate", str(run), "--count", "8"]) == 0
        assert "8 captions" in capsys.readouterr().out

    def test_measures_that_can_be_had_are_written(self, tmp_path, capsys):
        out = tmp_path / "report.json"
        words = ["--count", "20", "--data-size", "20", "--out", str(out)]
        assert main(["evaluate", "cgan-shapes64", *words]) == 0
        metrics = json.loads(out.read_text())["metrics"]
        assert metrics["semantic_accuracy"]["overall"]["n"] == 20
        assert "--count" in metrics["r_precision"]["not_measured"]
        text = capsys.readouterr().out
        assert "r precision: not measured" in text
        assert "semantic accuracy: overall" in text

    def test_one_checkpoint(self, run, capsys):
        checkpoint = run / "checkpoints" / "step-00000002"
        assert main(["evaluate", str(checkpoint), "--count", "8"]) == 0
        assert "step-00000002 on shapes (test), 8 captions" in capsys.readouterr().out

    def test_options_of_drawing_are_heard_and_written_down(self, writer, tmp_path):
        out = tmp_path / "report.json"
        words = ["--count", "8", "--out", str(out)]
        reports = []
        for options in ([], ["--option", "top-k=1", "--option", "guidance=2"]):
            assert main(["evaluate", str(writer), *words, *options]) == 0
            reports.append(json.loads(out.read_text()))
        free, told = reports
        assert free["options"] == {}
        assert told["options"] == {"top_k": 1, "guidance": 2.0}
        # bits are those of the real pictures, and no drawing changes them
        assert told["metrics"]["bits"] == free["metrics"]["bits"]

    def test_a_wrong_option_ends_it(self, capsys, writer):
        line = fails(capsys, "evaluate", writer, "--option", "temperature=-1")
        assert "temperature must be a number from 0" in line

    def test_bad_input(self, capsys, run, tmp_path):
        assert "unknown model" in fails(capsys, "evaluate", "nothing")
        assert "--count" in fails(capsys, "evaluate", run, "--count", "0")
        assert "end in .json" in fails(capsys, "evaluate", run, "--out", "a.txt")
        line = fails(capsys, "evaluate", run, "--data", "shape")
        assert "Did you mean shapes" in line
        line = fails(capsys, "evaluate", run, "--data-object", "1")
        assert "Did you mean --data-objects" in line
