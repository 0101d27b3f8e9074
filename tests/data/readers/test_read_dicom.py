"""DICOM series with SEG and RTSTRUCT: places, masks and contours known by construction, for any direction of slices."""

from __future__ import annotations

import random
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from reading import opened, recipe

from vilam.data.readers import find_recipe, open_files
from vilam.data.readers.dicom import recognises
from vilam.data.readers.source import Problem, RawRecord
from vilam.data.recipes import Window
from vilam.data.records import ImageRecord
from vilam.errors import VilamError

CLASSES = "1.2.840.10008.5.1.4.1.1."
CT, DX, SEG, LABELMAP, RTSTRUCT = (CLASSES + end for end in ("2", "1.1.1", "66.4", "66.7", "481.3"))
DEPTH, HEIGHT, WIDTH = 6, 30, 41
ORIGIN, STEPS = np.array([-20.0, 35.0, -100.0]), (0.5, 0.8, 3.0)
"""Of the first pixel, and millimetres between columns, rows and slices."""
AXES = {
    "axial": ((1, 0, 0), (0, 1, 0)),
    "coronal": ((1, 0, 0), (0, 0, -1)),
    "sagittal": ((0, 1, 0), (0, 0, -1)),
    "oblique": ((0.8, 0.6, 0), (-0.36, 0.48, -0.8)),
    "prone": ((-1, 0, 0), (0, -1, 0)),
}
DICOM: dict[str, Any] = {"kind": "dicom"}

Ring = list[tuple[float, float]]


def item(**elements: Any) -> Dataset:
    found = Dataset()
    for name, value in elements.items():
        setattr(found, name, value)
    return found


def save(path: Path, sop_class: str, uid: str, **elements: Any) -> Dataset:
    found = item(SOPClassUID=sop_class, SOPInstanceUID=uid, **elements)
    found.file_meta = FileMetaDataset()
    found.file_meta.MediaStorageSOPClassUID, found.file_meta.MediaStorageSOPInstanceUID = sop_class, uid
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(path, enforce_file_format=True)
    return found


def at(x: float, y: float, z: float, axes: str = "axial") -> list[float]:
    """The place of a point of slice z, in pixels whose first is from 0 to 1."""
    across, down = (np.array(one, dtype=float) for one in AXES[axes])
    own = ORIGIN + across * (x - 0.5) * STEPS[0] + down * (y - 0.5) * STEPS[1] + np.cross(across, down) * z * STEPS[2]
    return [float(f"{value:.6f}") for value in own]


def places(z: float, axes: str) -> dict[str, Any]:
    directions = [float(value) for one in AXES[axes] for value in one]
    return {"ImagePositionPatient": at(0.5, 0.5, z, axes), "ImageOrientationPatient": directions}


def ids(patient: str, series: str) -> dict[str, str]:
    return {
        "PatientID": patient,
        "StudyInstanceUID": f"1.2.{number(patient)}",
        "SeriesInstanceUID": f"1.2.{number(patient)}.{number(series)}",
        "FrameOfReferenceUID": f"1.2.{number(patient)}.99",
    }


def number(word: str) -> int:
    return sum(ord(letter) * 7**n for n, letter in enumerate(word))


def pixels(values: NDArray[Any], bits: int = 16) -> dict[str, Any]:
    return {
        **{"Rows": values.shape[-2], "Columns": values.shape[-1], "SamplesPerPixel": 1},
        **{"PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1},
        **{"PixelRepresentation": 0, "PixelData": values.tobytes() + b"\0" * (values.nbytes % 2)},
    }


def uid_of(patient: str, series: str, z: int) -> str:
    return f"{ids(patient, series)['SeriesInstanceUID']}.{z + 1}"


def volume() -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 2000, (DEPTH, HEIGHT, WIDTH), dtype=np.uint16)


def write_series(root: Path, patient: str = "P1", axes: str = "axial", suffix: str = ".dcm", **elements: Any) -> None:
    """A CT of Hounsfield units from -1000, in files whose names have another order than the slices."""
    for z, values in enumerate(volume()):
        own = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1000, "PixelSpacing": [STEPS[1], STEPS[0]]}
        own |= ids(patient, "ct") | places(z, axes) | pixels(values) | elements
        save(root / patient / "study" / "ct" / f"{(z * 5) % DEPTH}{z}{suffix}", CT, uid_of(patient, "ct", z), **own)


def masks() -> NDArray[np.bool_]:
    """Two segments [2, z, y, x]: one largest in slice 2, one in slice 4, which shows both."""
    found = np.zeros((2, DEPTH, HEIGHT, WIDTH), dtype=bool)
    for z, half in ((1, 3), (2, 9), (3, 5), (4, 4)):
        found[0, z, 14 - half : 14 + half, 20 - half : 20 + half] = True
    found[1, 4, 3:8, 30:40] = found[1, 3, 4:7, 31:33] = True
    return found


EXPECTED = {
    2: {"liver": (11, 5, 29, 23)},
    4: {"liver": (16, 10, 24, 18), "lesion": (30, 3, 40, 8)},
}


def write_seg(
    path: Path, kind: str = "BINARY", axes: str = "axial", patient: str = "P1", by: str = "both", **elements: Any
) -> None:
    """A SEG without empty frames, its frames in a mixed order, placed by position, by the pictures' ids, or by both."""
    if kind == "LABELMAP":
        labels = (masks() * np.array([1, 2])[:, None, None, None]).sum(0).astype(np.uint8)
        chosen = [(0, z) for z in range(DEPTH)]
        frames = np.stack([labels[z] for _, z in chosen])
    else:
        chosen = [(s, z) for s in (1, 0) for z in (4, 1, 3, 2, 0, 5) if masks()[s, z].any()]
        frames = np.stack([masks()[s, z] for s, z in chosen]).astype(np.uint8) * (1 if kind == "BINARY" else 200)
        if kind == "FRACTIONAL":
            frames[frames == 0] = 90
    per_frame = []
    for s, z in chosen:
        own: dict[str, Any] = {}
        if kind != "LABELMAP":
            own["SegmentIdentificationSequence"] = [item(ReferencedSegmentNumber=s + 1)]
        if by != "ids":
            own["PlanePositionSequence"] = [item(ImagePositionPatient=at(0.5, 0.5, z, axes))]
        if by != "places":
            source = item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=uid_of(patient, "ct", z))
            own["DerivationImageSequence"] = [item(SourceImageSequence=[source])]
        per_frame.append(item(**own))
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=places(0, axes)["ImageOrientationPatient"])],
        PixelMeasuresSequence=[item(PixelSpacing=[STEPS[1], STEPS[0]])],
    )
    names, uid = elements.pop("names", ("liver", "lesion")), elements.pop("uid", f"1.3.{number(path.name)}")
    content = pixels(frames, 8)
    if kind == "BINARY":
        packed = np.packbits(frames.ravel(), bitorder="little").tobytes()
        content |= {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0, "PixelData": packed + b"\0" * (len(packed) % 2)}
    facts = {
        **{"Modality": "SEG", "SegmentationType": kind, "MaximumFractionalValue": 200, "NumberOfFrames": len(frames)},
        "SegmentSequence": [
            item(
                SegmentNumber=n + 1,
                SegmentLabel=name,
                SegmentedPropertyTypeCodeSequence=[item(CodeMeaning=f"kind {n + 1}")],
            )
            for n, name in enumerate(names)
        ],
        "ReferencedSeriesSequence": [item(SeriesInstanceUID=ids(patient, "ct")["SeriesInstanceUID"])],
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": per_frame,
    }
    own_class = LABELMAP if kind == "LABELMAP" else SEG
    save(path, own_class, uid, **(ids(patient, path.name) | content | facts | elements))


def square(x1: float, y1: float, x2: float, y2: float) -> Ring:
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


RINGS: dict[str, list[tuple[float, Ring]]] = {
    "BODY": [(1, square(2, 2, 30, 25)), (2, square(1.5, 1.25, 39.5, 28.75)), (2, square(10, 10, 12, 12))],
    "GTV-1": [(2, square(5, 5, 9, 9)), (4, square(8.5, 6.25, 20, 17.75)), (4, square(25, 7, 29, 9))],
}


def write_rtstruct(
    path: Path, axes: str = "axial", patient: str = "P1", rings: dict[str, list[tuple[float, Ring]]] = RINGS, **how: Any
) -> None:
    kind, with_ids, reference = how.pop("kind", "CLOSED_PLANAR"), how.pop("with_ids", True), how.pop("reference", True)
    contours = []
    for n, own in enumerate(rings.values()):
        sequence = []
        for z, ring in own:
            data = [value for x, y in ring for value in at(x, y, z, axes)]
            contour = item(ContourGeometricType=kind, NumberOfContourPoints=len(ring), ContourData=data)
            if with_ids:
                source = item(ReferencedSOPClassUID=CT, ReferencedSOPInstanceUID=uid_of(patient, "ct", int(z)))
                contour.ContourImageSequence = [source]
            sequence.append(contour)
        contours.append(item(ReferencedROINumber=n + 1, ContourSequence=sequence))
    contours.append(item(ReferencedROINumber=len(rings) + 1))
    frame = item(FrameOfReferenceUID=ids(patient, "ct")["FrameOfReferenceUID"])
    if reference:
        series = item(SeriesInstanceUID=ids(patient, "ct")["SeriesInstanceUID"])
        frame.RTReferencedStudySequence = [item(RTReferencedSeriesSequence=[series])]
    facts = {
        "Modality": "RTSTRUCT",
        "StructureSetROISequence": [
            item(ROINumber=n + 1, ROIName=name) for n, name in enumerate((*rings, "never outlined"))
        ],
        "ROIContourSequence": contours,
        "ReferencedFrameOfReferenceSequence": [frame],
    }
    save(path, RTSTRUCT, f"1.4.{number(path.name)}", **(ids(patient, path.name) | facts | how))


def read(root: Path, reader: dict[str, Any] | None = None) -> tuple[list[ImageRecord], list[str]]:
    own, folder = (recipe(reader), root) if reader else find_recipe("auto", root, Path.cwd())
    rows = list(open_files(own, folder).rows)
    return [r.record for r in rows if isinstance(r, RawRecord)], [r.message for r in rows if isinstance(r, Problem)]


def by_slice(records: Sequence[ImageRecord]) -> dict[int, dict[str, tuple[float, ...]]]:
    """The boxes by category, by the slice, which is the last digit of a file's name."""
    return {
        int(record.image_id[-1]): {region.category: region.box_xyxy for region in record.regions} for record in records
    }


def shown(record: ImageRecord) -> NDArray[np.uint8]:
    with Image.open(BytesIO(record.image)) as image:
        return np.asarray(image)


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize("by", ["both", "ids", "places"])
def test_segments_are_shown_where_they_are_largest(tmp_path: Path, axes: str, by: str) -> None:
    write_series(tmp_path, axes=axes)
    write_seg(tmp_path / "P1" / "study" / "seg" / "1.dcm", axes=axes, by=by)
    records, problems = read(tmp_path, DICOM | {"window": {"low": -1000, "high": 999}})
    assert not problems and by_slice(records) == EXPECTED
    for record in records:
        assert np.array_equal(shown(record), np.round(volume()[int(record.image_id[-1])] / 1999 * 255))


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("packed", [False, True])
def test_fractions_count_from_a_half_and_label_maps_have_a_value_each(tmp_path: Path, kind: str, packed: bool) -> None:
    write_series(tmp_path, suffix="")
    write_seg(tmp_path / "seg", kind)
    if packed:
        content = pydicom.dcmread(tmp_path / "seg")
        content.compress(RLELossless, generate_instance_uid=False)
        content.save_as(tmp_path / "seg")
    records, problems = read(tmp_path)
    assert not problems and by_slice(records) == EXPECTED


def test_the_background_of_a_label_map_is_no_object(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_seg(tmp_path / "seg", "LABELMAP")
    content = pydicom.dcmread(tmp_path / "seg")
    content.SegmentSequence.insert(0, item(SegmentNumber=0, SegmentLabel="Background"))
    content.save_as(tmp_path / "seg")
    assert by_slice(read(tmp_path)[0]) == EXPECTED and opened(DICOM, tmp_path).categories == ("liver", "lesion")


def test_a_segment_without_a_name_has_that_of_its_kind(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_seg(tmp_path / "seg.dcm", names=("Segment 1", "2"))
    assert {one.category for record in read(tmp_path)[0] for one in record.regions} == {"kind 1", "kind 2"}


def test_a_mask_on_another_grid_is_put_on_the_pixels(tmp_path: Path) -> None:
    """A series of half the size, whose pixels are twice as large: their first centre is between those of the masks."""
    for z in range(DEPTH):
        own = ids("P1", "ct") | pixels(volume()[z, : HEIGHT // 2, : WIDTH // 2]) | {"Modality": "MR"}
        own |= places(z, "axial") | {"ImagePositionPatient": at(1, 1, z), "PixelSpacing": [1.6, 1.0]}
        save(tmp_path / f"{z}", CT, uid_of("P1", "ct", z), **own)
    write_seg(tmp_path / "seg")
    records, problems = read(tmp_path)
    halves = {
        z: {name: tuple(side / 2 for side in box) for name, box in boxes.items()} for z, boxes in EXPECTED.items()
    }
    for z, boxes in by_slice(records).items():
        for name, box in boxes.items():
            assert box == pytest.approx(halves[z][name], abs=0.5)
    assert not problems and by_slice(records).keys() == EXPECTED.keys()


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize(("with_ids", "reference"), [(True, True), (False, True), (True, False), (False, False)])
def test_structures_are_rings_in_pixels(tmp_path: Path, axes: str, with_ids: bool, reference: bool) -> None:
    write_series(tmp_path, axes=axes)
    write_rtstruct(tmp_path / "P1" / "rt.dcm", axes=axes, with_ids=with_ids, reference=reference)
    records, problems = read(tmp_path)
    assert not problems
    two, four = sorted(records, key=lambda record: record.image_id[-1])
    assert {one.category: one.box_xyxy for one in two.regions} == {
        "BODY": pytest.approx((1.5, 1.25, 39.5, 28.75), abs=1 / 64),
        "GTV-1": pytest.approx((5, 5, 9, 9), abs=1 / 64),
    }
    (gtv,) = four.regions
    assert gtv.box_xyxy == pytest.approx((8.5, 6.25, 29, 17.75), abs=1 / 64)
    assert [len(ring) for ring in gtv.polygons] == [4, 4]
    assert np.array(gtv.polygons[1]) == pytest.approx(np.array(square(25, 7, 29, 9)), abs=1 / 64)
    assert [len(one.polygons) for one in two.regions] == [1, 1]  # the ring in BODY is the edge of a hole


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR"])
def test_what_is_not_closed_is_left_out(tmp_path: Path, kind: str) -> None:
    write_series(tmp_path)
    write_rtstruct(tmp_path / "rt.dcm", kind=kind)
    write_rtstruct(tmp_path / "other.dcm", rings={"heart": [(3, square(4, 4, 8, 8))]})
    records, problems = read(tmp_path)
    assert not problems and by_slice(records) == {3: {"heart": pytest.approx((4, 4, 8, 8), abs=1 / 64)}}


def test_contours_beside_the_series_cost_only_themselves(tmp_path: Path) -> None:
    write_series(tmp_path)
    far = {"lung": [(2, square(4, 4, 8, 8)), (-9, square(1, 1, 30, 20))], "lost": [(40, square(1, 1, 3, 3))]}
    write_rtstruct(tmp_path / "rt.dcm", rings=far, with_ids=False)
    records, problems = read(tmp_path)
    assert by_slice(records) == {2: {"lung": pytest.approx((4, 4, 8, 8), abs=1 / 64)}}
    assert [message.split(":")[0] for message in problems] == ["object lung", "object lost"]


@pytest.mark.parametrize("inverted", [False, True])
def test_an_x_ray_is_shown_in_its_own_window(tmp_path: Path, inverted: bool) -> None:
    values = np.linspace(0, 4095, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    own = ids("P1", "ct") | pixels(values) | {"BitsStored": 12, "HighBit": 11, "Modality": "DX"}
    own |= {"PhotometricInterpretation": "MONOCHROME1"} if inverted else {}
    window = {"WindowCenter": [1000.5, 5], "WindowWidth": [1001, 5], "RescaleIntercept": 0, "RescaleSlope": 1}
    save(tmp_path / "xray", DX, uid_of("P1", "ct", 4), **(own | window))
    write_seg(tmp_path / "seg.dcm", by="ids")
    source = opened(DICOM, tmp_path)
    records, problems = [], []
    for row in source.rows:
        (records if isinstance(row, RawRecord) else problems).append(row)
    record = records[0].record  # type: ignore[union-attr]
    grey = np.round(np.clip((values - 500.0) / 1000, 0, 1) * 255)
    assert np.abs(shown(record).astype(int) - (255 - grey if inverted else grey)).max() <= 1
    assert {one.category: one.box_xyxy for one in record.regions} == EXPECTED[4]
    assert [row.message for row in problems if isinstance(row, Problem)] == ["4 frames lie in no slice of their series"]
    assert source.levels == ((2595, 3595, 0) if inverted else (500, 1500, 0))


def test_the_window_of_a_recipe_comes_first(tmp_path: Path) -> None:
    write_series(tmp_path, WindowCenter=40, WindowWidth=400)
    write_seg(tmp_path / "seg.dcm")
    window = Window(low=-500, high=500)
    own = np.round(np.clip((volume()[2] - 500.0) / 1000, 0, 1) * 255)
    records, _ = read(tmp_path, DICOM | {"window": window})
    assert np.array_equal(shown(records[0] if records[0].image_id[-1] == "2" else records[1]), own)


def test_frames_of_one_file_are_slices(tmp_path: Path) -> None:
    """An enhanced CT: all slices in one file, from head to feet, with their places in groups."""
    groups = [item(PlanePositionSequence=[item(ImagePositionPatient=at(0.5, 0.5, z))]) for z in reversed(range(DEPTH))]
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=places(0, "axial")["ImageOrientationPatient"])],
        PixelMeasuresSequence=[item(PixelSpacing=[STEPS[1], STEPS[0]], SliceThickness=3)],
        PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-1000, RescaleType="HU")],
    )
    own = ids("P1", "ct") | pixels(volume()[::-1]) | {"Modality": "CT", "NumberOfFrames": DEPTH}
    own |= {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": groups}
    save(tmp_path / "enhanced.dcm", CLASSES + "2.1", uid_of("P1", "ct", 0), **own)
    write_seg(tmp_path / "seg.dcm", by="places")
    records, problems = read(tmp_path)
    assert not problems and sorted(record.image_id for record in records) == ["enhanced_0001", "enhanced_0003"]
    found = {DEPTH - 1 - int(one.image_id[-1]): {r.category: r.box_xyxy for r in one.regions} for one in records}
    assert found == EXPECTED
    for record in records:
        z = DEPTH - 1 - int(record.image_id[-1])
        values = volume()[z].astype(float)
        assert np.array_equal(shown(record), np.round((values - values.min()) / np.ptp(values) * 255))


def test_a_patient_is_in_one_split(tmp_path: Path) -> None:
    for n in range(12):
        write_series(tmp_path, f"P{n}")
        write_seg(tmp_path / f"P{n}" / "study" / "seg.dcm", patient=f"P{n}", uid=f"1.5.{n}")
    records, problems = read(tmp_path)
    splits = {
        patient: {one.split for one in records if one.image_id.startswith(f"{patient}/")} for patient in ("P1", "P7")
    }
    assert not problems and len(records) == 24 and all(len(one) == 1 for one in splits.values())
    assert {record.split for record in records} == {"train", "val", "test"}
    assert len({record.image_id for record in records}) == 24


def test_patients_whose_ids_look_like_pictures_are_patients(tmp_path: Path) -> None:
    for n in range(4):
        write_series(tmp_path, f"site_image_{n}")
        write_seg(tmp_path / f"{n}", patient=f"site_image_{n}")
    assert {record.split for record in read(tmp_path)[0]} == {"train", "val", "test"}


def test_folders_named_as_splits_are_official(tmp_path: Path) -> None:
    for split, patient in (("train", "A"), ("val", "B"), ("test", "C")):
        write_series(tmp_path / split, patient)
        write_seg(tmp_path / split / patient / f"seg{patient}", patient=patient)
    assert all(record.image_id.startswith(f"{record.split}/") for record in read(tmp_path)[0])


def test_several_files_of_a_series_are_one_case(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_seg(tmp_path / "seg.dcm")
    write_rtstruct(tmp_path / "rt.dcm", rings={"heart": [(2, square(4, 4, 8, 8))]})
    records, _ = read(tmp_path)
    assert len(records) == 2 and by_slice(records)[2].keys() == {"liver", "heart"}
    only, _ = read(tmp_path, DICOM | {"files": {"test": "rt*"}})
    assert [one.split for one in only] == ["test"] and by_slice(only)[2].keys() == {"heart"}


def test_a_single_file_means_its_folder(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_seg(tmp_path / "seg.dcm")
    assert by_slice(read(tmp_path / "seg.dcm")[0]) == EXPECTED
    found = recognises(tmp_path / "seg.dcm")
    assert found is not None and found.title == "DICOM series with SEG"


def test_an_annotation_without_its_images_is_told(tmp_path: Path) -> None:
    write_seg(tmp_path / "seg.dcm", patient="P9")
    with pytest.raises(VilamError, match=r"seg\.dcm: no image of its series below the folder: set prepare\.root"):
        opened(DICOM, tmp_path)
    write_series(tmp_path)
    write_rtstruct(tmp_path / "rt.dcm")
    records, problems = read(tmp_path)
    assert len(records) == 2 and problems == ["no image of its series below the folder"]


def test_images_alone_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path)
    assert recognises(tmp_path) is None
    with pytest.raises(VilamError, match="no SEG and no RTSTRUCT"):
        opened(DICOM, tmp_path)


def test_a_missing_package_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_seg(tmp_path / "seg.dcm")
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(VilamError, match=r"pip install 'vilam\[medical\]'"):
        opened(DICOM, tmp_path)


def test_a_broken_slice_costs_only_itself(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_seg(tmp_path / "seg.dcm")
    path = next(tmp_path.rglob("*4.dcm"))
    path.write_bytes(path.read_bytes()[:-200])
    records, problems = read(tmp_path)
    assert by_slice(records) == {2: EXPECTED[2]} and len(problems) == 1 and "cannot be read" in problems[0]


def test_sides_beyond_the_file_are_not_believed(tmp_path: Path) -> None:
    write_series(tmp_path)
    write_seg(tmp_path / "seg.dcm")
    path = next(tmp_path.rglob("*4.dcm"))
    content = pydicom.dcmread(path)
    content.Rows = 65535
    content.save_as(path)
    assert read(tmp_path)[1][0].startswith("cannot be read: 1 frames of 41x65535 in a file of ")


def test_damaged_files_are_read_or_told(tmp_path: Path) -> None:
    """Bytes changed, or an end cut off, anywhere in any file."""
    write_series(tmp_path)
    write_seg(tmp_path / "seg.dcm")
    write_rtstruct(tmp_path / "rt.dcm")
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    whole, rng = {path: path.read_bytes() for path in files}, random.Random(0)
    for _ in range(60):
        path = rng.choice([*files, tmp_path / "seg.dcm", tmp_path / "rt.dcm"])
        content = bytearray(whole[path])
        for _ in range(rng.randint(0, 3)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content[: rng.randint(0, len(content))] if rng.random() < 0.3 else content)
        try:
            assert all("\n" not in message for message in read(tmp_path, DICOM)[1])
        except VilamError as error:
            assert "\n" not in str(error)
        path.write_bytes(whole[path])


def test_values_are_read_as_pydicom_wrote_them(tmp_path: Path) -> None:
    """The test's own files are valid for their library."""
    write_series(tmp_path)
    assert np.array_equal(pydicom.dcmread(next(tmp_path.rglob("*0.dcm"))).pixel_array, volume()[0])
