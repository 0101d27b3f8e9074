"""Label Studio: ``SPLIT.json`` with finished tasks to import, ``images/SPLIT``, and the set-up ``config.xml``.

Pictures are local files: Label Studio serves them if LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED is true and
LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT is this folder. Coordinates are per cents. An object is a rectangle, or a polygon
whose parts are joined by a bridge of no area; its expressions are texts beside it. Words that mean several objects or
none, and keypoints, have no place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from vilam.data.records import DatasetCard, ImageRecord, Region
from vilam.data.writers.pictures import IMAGES, Records, write_pictures
from vilam.geometry.polygons import joined

LOCAL = "/data/local-files/?d="
CONFIG = """\
<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image">
{labels}
  </RectangleLabels>
  <PolygonLabels name="outline" toName="image">
{labels}
  </PolygonLabels>
  <TextArea name="expression" toName="image" perRegion="true" maxSubmissions="0"/>
</View>
"""

Row = dict[str, Any]


def write_labelstudio(card: DatasetCard, records: Records, folder: Path) -> None:
    """Write a data set into an empty folder; its images are those of the records, byte for byte."""
    labels = "\n".join(f"    <Label value={quoteattr(name)}/>" for name in card.categories)
    (folder / "config.xml").write_text(CONFIG.format(labels=labels), encoding="utf-8")
    for split in card.splits:
        with (folder / f"{split}.json").open("w", encoding="utf-8") as file:
            separator = "["
            for number, (record, name) in enumerate(write_pictures(records(split), folder, split), start=1):
                data = {"image": f"{LOCAL}{IMAGES}/{name}", "split": split}
                results = [one for region in record.regions for one in _results(region, record)]
                done = {"annotations": [{"result": results, "was_cancelled": False}], "total_annotations": 1}
                task = {"inner_id": number, "data": data, **done}
                file.write(f"{separator}\n{json.dumps(task, ensure_ascii=False)}")
                separator = ","
            file.write("\n]\n")


def _results(region: Region, record: ImageRecord) -> list[Row]:
    """The result of an object, and one with its expressions, which have one id."""
    head: Row = {
        "id": region.region_id,
        "to_name": "image",
        "original_width": record.width,
        "original_height": record.height,
        "image_rotation": 0,
    }
    place = _place(region, record)
    kind, name = ("polygonlabels", "outline") if region.polygons else ("rectanglelabels", "label")
    results = [{**head, "type": kind, "from_name": name, "value": {**place, kind: [region.category]}}]
    if region.expressions:
        texts = {**place, "text": [one.text for one in region.expressions]}
        results.append({**head, "type": "textarea", "from_name": "expression", "value": texts})
    return results


def _place(region: Region, record: ImageRecord) -> Row:
    """Where an object is, in per cents of the picture's sides."""
    across, down = 100 / record.width, 100 / record.height
    if region.polygons:
        points = [[float(x) * across, float(y) * down] for x, y in joined(region.polygons)]
        return {"points": points, "closed": True}
    x1, y1, x2, y2 = region.box_xyxy
    sides = {"width": (x2 - x1) * across, "height": (y2 - y1) * down}
    return {"x": x1 * across, "y": y1 * down, **sides, "rotation": 0}
