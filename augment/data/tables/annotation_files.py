"""What labelling tools export, as a table with a row an image: file_name, label.

Label Studio (JSON, JSON_MIN), CVAT (annotations.xml), FiftyOne (labels.json), Labelbox (NDJSON),
Prodigy (JSON lines), Datumaro, COCO, and plain JSON: records, records by name, columns, or a label
by file name. The layouts are those of the tools' documentation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from augment.data.tables.text_frames import records_frame, rows_frame
from augment.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

# fields of COCO's images that say nothing of whose they are
COCO_FIELDS = {"id", "width", "height", "license", "flickr_url", "coco_url"}
SEVERAL = "|"  # between the labels of an image that has several


def text_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Turn all cells into text: nothing becomes "", a list its entries with SEVERAL between."""
    columns = {str(name): [_text(cell) for cell in frame[name]] for name in frame.columns}
    return rows_frame([*zip(*columns.values(), strict=True)], columns)


def _text(cell: Any) -> str:
    """Turn one cell into text."""
    if isinstance(cell, dict):
        cell = cell.get("choices", json.dumps(cell, ensure_ascii=False))
    if isinstance(cell, str):
        return cell
    if isinstance(cell, (list, tuple)) or getattr(cell, "ndim", 0):
        return SEVERAL.join(map(_text, cell))
    return "" if cell is None or cell != cell else str(cell)  # NaN is not equal to itself


def read_json(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """Read JSON or JSON lines; DataError where it is neither or holds no table."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() in (".json", ".geojson"):
            found, lines = json.loads(text), None
        else:
            numbered = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
            found = [json.loads(line) for _, line in numbered]
            lines = [n for n, _ in numbered]
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no JSON in UTF-8: {error}") from None
    try:
        records = _records(found)
    except (AttributeError, TypeError, KeyError, IndexError):  # like a known export, and is none
        records = None
    if records is None:
        raise DataError(f"{path} holds no table: a list of records with a file name each is one")
    return text_frame(records_frame(records)), lines or list(range(1, len(records) + 1))


def _records(found: Any) -> list[dict[str, Any]] | None:
    """Find the records in what a JSON file holds, or None."""
    if isinstance(found, list):
        if not all(isinstance(each, dict) for each in found):
            return None
        if found and all("source-ref" in each for each in found):
            return _ground_truth(found)
        if found and all("data_row" in each and "projects" in each for each in found):
            return _labelbox(found)
        if found and all("accept" in each and "options" in each for each in found):
            return _prodigy(found)
        return [_task(each) if "annotations" in each and "data" in each else each for each in found]
    if not isinstance(found, dict):
        return None
    if all(isinstance(found.get(key), list) for key in ("images", "annotations", "categories")):
        return _coco(found)
    if isinstance(found.get("categories"), dict) and isinstance(found.get("items"), list):
        return _datumaro(found)
    if isinstance(found.get("features"), list):  # GeoJSON, of tiles on a map
        return [each["properties"] for each in found["features"]]
    names = found.get("classes") or []  # FiftyOne, which may write null
    if isinstance(found.get("labels"), dict) and "classes" in found and isinstance(names, list):
        return [
            {"file_name": key, "label": _fiftyone_label(value, names)}
            for key, value in found["labels"].items()
        ]
    if found and all(isinstance(value, (str, int)) for value in found.values()):
        return [{"file_name": key, "label": value} for key, value in found.items()]
    if found and all(isinstance(value, dict) for value in found.values()):
        return [value | {"key": key} for key, value in found.items()]
    if found and all(isinstance(value, list) for value in found.values()):
        sizes = {len(value) for value in found.values()}
        if len(sizes) == 1:
            return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    return None


def _fiftyone_label(value: Any, names: list[Any]) -> Any:
    """Return the label of FiftyOne's entry: the number of a class, its name, or a dict with it."""
    if isinstance(value, dict):
        return value.get("label")
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _coco(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Read the categories of each image of a COCO file, and its other fields as columns."""
    names = {each.get("id"): str(each.get("name")) for each in found["categories"]}
    labels: dict[Any, list[str]] = {}
    for each in found["annotations"]:
        of_image = labels.setdefault(each.get("image_id"), [])
        name = names.get(each.get("category_id"), "")
        if name not in of_image:
            of_image.append(name)
    return [
        {"file_name": each.get("file_name")}
        | {key: value for key, value in each.items() if key not in COCO_FIELDS}
        | {"label": SEVERAL.join(labels.get(each.get("id"), []))}
        for each in found["images"]
    ]


def _task(task: dict[str, Any]) -> dict[str, Any]:
    """Read a task of Label Studio: its picture, and the choice of each annotator."""
    data = task["data"] if isinstance(task["data"], dict) else {}
    file = next((data[key] for key in ("image", "img", "file_name") if key in data), None)
    if file is None:
        file = next((value for value in data.values() if isinstance(value, str)), "")
    annotations = task["annotations"] if isinstance(task["annotations"], list) else []
    labels: list[str] = []
    for each in annotations:
        if not isinstance(each, dict) or each.get("was_cancelled"):
            continue
        for result in each.get("result") or []:
            value = result.get("value", {}) if isinstance(result, dict) else {}
            for choice in value.get("choices", []) if isinstance(value, dict) else []:
                if choice not in labels:  # annotators who agree
                    labels.append(str(choice))
    return {"file_name": file, "label": SEVERAL.join(labels)}


def _prodigy(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read an export of Prodigy: a picture, and what was chosen where that was accepted."""
    return [
        {
            "file_name": task.get("path") or task.get("image") or "",
            "label": SEVERAL.join(task["accept"]) if task.get("answer") == "accept" else "",
        }
        for task in tasks
    ]


def _labelbox(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read an export of Labelbox: a picture, and the answers to each question on the whole of it.

    One question gives the column label, several give theirs.
    """
    found, questions = [], set()
    for row in rows:
        source = row["data_row"]
        file = source.get("external_id") or source.get("global_key") or source.get("row_data")
        answers: dict[str, list[str]] = {}
        for project in row["projects"].values():
            for label in project.get("labels", []):
                for each in label.get("annotations", {}).get("classifications", []):
                    chosen = [each["radio_answer"]] if each.get("radio_answer") else []
                    names = [a["name"] for a in [*chosen, *each.get("checklist_answers", [])]]
                    answers.setdefault(each["name"], []).extend(names)
        questions |= answers.keys()
        told = {name: SEVERAL.join(dict.fromkeys(names)) for name, names in answers.items()}
        found.append({"file_name": file} | told)
    return [{("label" if {key} == questions else key): v for key, v in f.items()} for f in found]


def _datumaro(found: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Read a file of Datumaro: the labels of each picture as a whole; None where it has none."""
    names = [each["name"] for each in found["categories"].get("label", {}).get("labels", [])]
    rows = []
    for item in found["items"]:
        marks = [n for n in item.get("annotations", []) if n.get("type") == "label"]
        path = item.get("image", {}).get("path") or item["id"]
        labels = dict.fromkeys(names[n["label_id"]] for n in marks)
        rows.append({"file_name": path, "label": SEVERAL.join(labels)})
    return rows if any(row["label"] for row in rows) else None


def _ground_truth(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read an output manifest of SageMaker Ground Truth: JOB, and JOB-metadata with its names.

    One job of classes gives the column label, several give theirs; of other jobs none is made.
    """
    found: list[dict[str, Any]] = []
    jobs: set[str] = set()
    for line in lines:
        about = {k: v for k, v in line.items() if k.endswith("-metadata") and isinstance(v, dict)}
        row = {"file_name": line["source-ref"]}
        row |= {k: v for k, v in line.items() if k not in about and k != "source-ref"}
        for key, said in about.items():
            job, names = key.removesuffix("-metadata"), said.get("class-map")
            if "class-name" in said or "failure-reason" in said:
                row[job] = said.get("class-name", "")
                jobs.add(job)
            elif isinstance(names, dict) and isinstance(line.get(job), list):
                row[job] = SEVERAL.join(str(names.get(str(n), n)) for n in line[job])
                jobs.add(job)
        found.append(row)
    return [{("label" if {key} == jobs else key): v for key, v in row.items()} for row in found]


def read_xml(path: Path) -> tuple[pd.DataFrame, list[int]]:
    """Read CVAT's annotations.xml: the tag of each image; DataError where it holds no such."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"{path} is no XML: {error}") from None
    images = root.findall(".//image[@name]")
    rows = [
        (image.attrib["name"], SEVERAL.join(t.attrib.get("label", "") for t in image.iter("tag")))
        for image in images
    ]
    if not rows:
        raise DataError(f"{path} holds no images of CVAT with tags")
    frame = rows_frame(rows, ["file_name", "label"])
    subsets = [image.attrib.get("subset", "") for image in images]
    if any(subsets):
        frame["split"] = subsets
    return frame, list(range(1, len(rows) + 1))
