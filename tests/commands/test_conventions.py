"""`vilam conventions`: the table has every row, boxes go through a model's tokens and back, errors are one line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import hf_checkpoints
import pytest
from PIL import Image

from vilam.commands.conventions import boxes, draw_convention, show_conventions
from vilam.errors import VilamError
from vilam.layout import shipped
from vilam.models.hf.conventions import convention_files


def test_the_table_has_every_row(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    show_conventions(tmp_path)
    printed = capsys.readouterr().out
    assert not [name for name in convention_files(shipped()) if name not in printed]
    assert "1000 bins, rounded down, read at centres of the picture" in printed and "<loc_100>" in printed


@pytest.mark.parametrize(("name", "bins"), [("qwen3-vl", 1000), ("paligemma", 1023), ("kosmos-2", 16)])
def test_boxes_go_through_the_tokens_and_back(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, bins: int
) -> None:
    hf_checkpoints.HF_CHECKPOINTS[name](tmp_path / name)
    Image.new("RGB", (900, 500), "white").save(tmp_path / "white.png")
    draw_convention(tmp_path / name, tmp_path / "white.png", tmp_path / "drawn.png")
    *lines, last = capsys.readouterr().out.splitlines()
    assert last.startswith(f"{tmp_path / 'drawn.png'}: green")
    errors = [
        float(error) for error in re.findall(r"at most ([0-9.]+) px off, IoU [01]\.[0-9]+$", "\n".join(lines), re.M)
    ]
    assert len(errors) == 5 and max(errors) <= 0.5 * 900 / bins + 0.005
    drawn = Image.open(tmp_path / "drawn.png")
    assert drawn.size == (900, 500)
    x1, y1, *_ = list(boxes(900, 500))[-1]
    assert drawn.getpixel((round(x1), round(y1))) != (255, 255, 255)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(VilamError, match=r"nothing: no config.json: name the folder of a Hugging Face VLM$"):
        draw_convention(tmp_path / "nothing", None, tmp_path / "drawn.png")
    hf_checkpoints.HF_CHECKPOINTS["kosmos-2"](tmp_path / "model")
    with pytest.raises(VilamError, match=r"could not be written .*: name a \.png file elsewhere$"):
        draw_convention(tmp_path / "model", None, tmp_path / "nowhere" / "drawn.png")
    shutil.rmtree(tmp_path / "model")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(VilamError, match=r"^vilam conventions .*the coordinate format of bert is not known"):
        draw_convention(tmp_path / "model", None, tmp_path / "drawn.png")
