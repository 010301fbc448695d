#!/usr/bin/env bash
# SimpleITK 2.5.7, pydicom 3.0.2, Python 3.11, seen on 2026-11-28.
#
# In a DICOM file of photometric interpretation MONOCHROME1 the lowest value is white. pydicom's
# pixel_array gives the stored values, SimpleITK gives them inverted (4095 − value for 12 stored bits).
# X-rays read by the one and by the other are negatives of each other; neither says so. MONOCHROME2 is
# read alike by both.
#
# Output seen:
#   MONOCHROME1: pydicom 0 100 200, SimpleITK 4095 3995 3895
#   MONOCHROME2: pydicom 0 100 200, SimpleITK 0 100 200
#
# Exits 0 if that is what happens, 1 if it has changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m pip install --quiet --disable-pip-version-check --target "$folder/site" --no-deps simpleitk==2.5.7 pydicom==3.0.2 numpy==2.4.6
cd "$folder"

PYTHONPATH="$folder/site" python3.11 - <<'PYTHON'
import numpy as np
import pydicom
import SimpleITK
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage


def write_dicom(file, stored, photometric):
    """Write [H, W] uint16 of 12 stored bits."""
    record = pydicom.Dataset()
    record.SOPClassUID, record.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3.1"
    record.StudyInstanceUID, record.SeriesInstanceUID = "1.2.3", "1.2.3.2"
    record.Modality, record.PhotometricInterpretation = "OT", photometric
    record.Rows, record.Columns = stored.shape
    record.SamplesPerPixel, record.PixelRepresentation = 1, 0
    record.BitsAllocated, record.BitsStored, record.HighBit = 16, 12, 11
    record.PixelData = stored.tobytes()
    record.file_meta = pydicom.dataset.FileMetaDataset()
    record.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    record.save_as(file, enforce_file_format=True)


stored = np.arange(0, 1600, 100, dtype=np.uint16).reshape(4, 4)
found = []
for photometric in ("MONOCHROME1", "MONOCHROME2"):
    write_dicom("slice.dcm", stored, photometric)
    one = pydicom.dcmread("slice.dcm").pixel_array.ravel()[:3].tolist()
    other = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage("slice.dcm")).ravel()[:3].tolist()
    print(f"{photometric}: pydicom {' '.join(map(str, one))}, SimpleITK {' '.join(map(str, other))}")
    found.append((one, other))
plain = [0, 100, 200]
raise SystemExit(found != [(plain, [4095, 3995, 3895]), (plain, plain)])
PYTHON
