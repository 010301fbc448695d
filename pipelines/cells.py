"""Cut single blood cells out of BCCD by their boxes: `python pipelines/cells.py BCCD OUT`.

BCCD holds `Annotations/*.xml` (Pascal VOC) and `JPEGImages/`. Each picture gives at most one
red cell and three of the other kinds, as squares of 1.15 times the longer side of their box, at
their own size: OUT/CLASS/PICTURE_BOX.png. metadata.csv names the picture of each as its group.
"""

import csv
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

MOST = {"RBC": 1, "WBC": 3, "Platelets": 3}  # cells of a picture
LEAST_SIDE, MARGIN = 15, 1.15  # pixels; times the longer side


def main(source: Path, out: Path) -> None:
    """Write the cells of all pictures and the table of their groups."""
    rows = []
    for file in sorted((source / "Annotations").glob("*.xml")):
        picture = Image.open(source / "JPEGImages" / f"{file.stem}.jpg").convert("RGB")
        taken: Counter[str] = Counter()
        for number, box in enumerate(ElementTree.parse(file).getroot().iter("object")):
            kind = box.findtext("name", "")
            left, top, right, bottom = (
                float(box.findtext(f"bndbox/{side}", "nan"))
                for side in ("xmin", "ymin", "xmax", "ymax")
            )
            if taken[kind] == MOST[kind] or min(right - left, bottom - top) < LEAST_SIDE:
                continue
            taken[kind] += 1
            side = round(MARGIN * max(right - left, bottom - top))
            x = round(min(max((left + right - side) / 2, 0), picture.width - side))
            y = round(min(max((top + bottom - side) / 2, 0), picture.height - side))
            name = f"{kind}/{file.stem}_{number}.png"
            (out / kind).mkdir(parents=True, exist_ok=True)
            picture.crop((x, y, x + side, y + side)).save(out / name)
            rows.append((name, kind, file.stem))
    with (out / "metadata.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("file_name", "label", "group"), *rows])


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
