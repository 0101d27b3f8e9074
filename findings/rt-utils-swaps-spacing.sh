#!/usr/bin/env bash
# Expected: a mask that rt-utils writes into an RTSTRUCT and a planning system reads back lies where it was.
# What happens: where rows and columns have other distances, the two change places: of pixels of 0.8 mm across and 0.5 mm
# down, a contour is written as if they were of 0.5 mm across and 0.8 mm down. With square pixels nothing shows.
# Seen on: rt-utils 1.2.7, pydicom 2.4.4 and numpy 1.26.4, which it asks for.
# Matters for MR and X-ray images with pixels that are no squares: the structure is elsewhere, in every program.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check \
  rt-utils==1.2.7 pydicom==2.4.4 numpy==1.26.4
cd "$work"
cat > show.py <<'PYTHON'
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from rt_utils import RTStructBuilder

ROWS_APART, COLUMNS_APART, SIDE = 0.5, 0.8, 40
study, series, frame = generate_uid(), generate_uid(), generate_uid()
Path("series").mkdir()
for number in range(3):
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(f"series/{number}.dcm", {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.StudyInstanceUID, file.SeriesInstanceUID, file.FrameOfReferenceUID = study, series, frame
    file.PatientID = file.PatientName = "A"
    file.PatientBirthDate = file.PatientSex = file.StudyDate = file.StudyTime = file.StudyID = ""
    file.AccessionNumber = file.ReferringPhysicianName = ""
    file.Modality, file.InstanceNumber, file.SeriesNumber, file.SliceThickness = "MR", number + 1, 1, 2
    file.ImagePositionPatient, file.ImageOrientationPatient = [0, 0, 2 * number], [1, 0, 0, 0, 1, 0]
    file.PixelSpacing = [ROWS_APART, COLUMNS_APART]  # the standard: the distance of rows comes first
    file.Rows = file.Columns = SIDE
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    file.PixelData = np.zeros((SIDE, SIDE), np.uint16).tobytes()
    file.is_little_endian, file.is_implicit_VR = True, False
    file.save_as(f"series/{number}.dcm", write_like_original=False)

mask = np.zeros((SIDE, SIDE, 3), bool)
mask[10:20, 20:35, 1] = True  # rows 10 to 19, columns 20 to 34
structures = RTStructBuilder.create_new("series")
structures.add_roi(mask=mask, name="part")
structures.save("structures.dcm")
contour = pydicom.dcmread("structures.dcm").ROIContourSequence[0].ContourSequence[0].ContourData
points = np.array(contour, float).reshape(-1, 3)
columns, rows = points[:, 0] / COLUMNS_APART, points[:, 1] / ROWS_APART
print("rt-utils", version("rt-utils"), "pydicom", version("pydicom"))
print("the mask: columns 20 to 34, rows 10 to 19")
print(f"the contour: columns {columns.min():.1f} to {columns.max():.1f}, rows {rows.min():.1f} to {rows.max():.1f}")
assert not (abs(columns.min() - 20) < 1 and abs(rows.min() - 10) < 1), "changed: the contour lies where the mask is"
PYTHON
venv/bin/python show.py 2>/dev/null
