"""Exams from tables and from folders of known layouts; people stay on one side of every split."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.classify.exams.exam import Exam, ExamSet, check_exams, check_labels
from napari_medssl.classify.exams.planes import plane_of, read_plane
from napari_medssl.classify.exams.reading import open_exams
from napari_medssl.classify.exams.split import Parts, divide_exams
from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.volume import Volume


@pytest.fixture
def mrnet(tmp_path: Path) -> Path:
    """Six exams in train and two in valid; one of them without a coronal array."""
    rng = np.random.default_rng(0)
    for part, ids in (("train", range(6)), ("valid", range(6, 8))):
        for plane in ("axial", "coronal", "sagittal"):
            (tmp_path / part / plane).mkdir(parents=True)
            for n in ids:
                if (plane, n) != ("coronal", 3):
                    np.save(tmp_path / part / plane / f"{n:04d}.npy", rng.integers(0, 255, (n + 1, 6, 6), np.uint8))
        for label in ("acl", "meniscus"):
            text = "\n".join(f"{n:04d},{int((n + len(label)) % 2)}" for n in ids)
            (tmp_path / f"{part}-{label}.csv").write_text(text)
    return tmp_path


def test_mrnet_folder(mrnet: Path) -> None:
    exams = open_exams(mrnet)
    assert (exams.labels, exams.planes, exams.kind) == (
        ("acl", "meniscus"),
        ("axial", "coronal", "sagittal"),
        "several",
    )
    assert [e.part for e in exams.exams] == ["train"] * 6 + ["test"] * 2
    assert exams.exams[1].values == (0.0, 1.0)
    assert set(exams.exams[3].planes) == {"axial", "sagittal"}
    assert exams.notes == ("1 of 8 exams have no coronal scan",)
    assert read_plane(exams.exams[4].planes["axial"]).shape == (5, 6, 6)
    assert open_exams(mrnet, columns=["acl"]).labels == ("acl",)
    with pytest.raises(FormatError, match="no table of 'abnormal'; it has: acl, meniscus"):
        open_exams(mrnet, columns=["abnormal"])


def test_mrnet_mistakes_are_named(mrnet: Path) -> None:
    path = mrnet / "train-acl.csv"
    good = path.read_text()
    path.write_text(good.replace("0002,1", "0002,2"))
    with pytest.raises(FormatError, match="0002 is '2'"):
        open_exams(mrnet)
    path.write_text(good + "\n0002,1")
    with pytest.raises(FormatError, match="0002 has a label already"):
        open_exams(mrnet)
    path.write_text(good + "\n0099,1")
    with pytest.raises(FormatError, match="0099 has no label 'meniscus'"):
        open_exams(mrnet)
    path.write_text("\n".join(good.splitlines()[1:]))
    with pytest.raises(FormatError, match="0000 has no label 'acl'"):
        open_exams(mrnet)


def test_kneemri_folder(tmp_path: Path) -> None:
    head = "examId,seriesNo,aclDiagnosis,volumeFilename\n"
    rows = [("11", 0, "vol01"), ("12", 2, "vol03"), ("12", 1, "vol03"), ("13", 0, "vol05"), ("14", 2, "elsewhere")]
    lines = ""
    for n, (person, grade, folder) in enumerate(rows):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{person}-{n}.pck").write_bytes(
            pickle.dumps(np.full((4, 5, 6), n, np.uint16), protocol=2)
        )
        lines += f"{person},{n},{grade},{person}-{n}.pck\n"
    (tmp_path / "metadata.csv").write_text(head + lines)
    exams = open_exams(tmp_path)
    assert [e.values for e in exams.exams] == [(0.0,), (1.0,), (0.0,), (0.0,), (1.0,)]
    assert [e.part for e in exams.exams] == ["test", "train", "train", "tuning", ""]
    assert [e.person for e in exams.exams] == ["11", "12", "12", "13", "14"]
    assert read_plane(exams.exams[2].planes["sagittal"]).data[0, 0, 0] == 2
    assert open_exams(tmp_path, columns=["ligament"]).exams[1].values == (0.0, 0.0, 1.0)
    (tmp_path / "metadata.csv").write_text(
        head + "".join(f"{line}\n" for line in lines.splitlines() if "12" not in line)
    )
    assert [e.part for e in open_exams(tmp_path).exams] == ["", "", ""]  # nothing would be left to learn from
    (tmp_path / "metadata.csv").write_text(head + lines.replace("12,1,2", "12,1,9").replace("13-3.pck", "gone.pck"))
    with pytest.raises(FormatError, match=r"line 3: the diagnosis is '9'.*line 5: no volume 'gone.pck'"):
        open_exams(tmp_path)


def test_table_with_planes_and_people(tmp_path: Path) -> None:
    for name in ("p1_ED.npy", "p1_ES.npy", "p2_ED.npy"):
        np.save(tmp_path / name, np.zeros((1, 2, 2)))
    path = tmp_path / "t.csv"
    path.write_text("file,subject,phase,ill\np1_ED.npy,p1,ED,1\np1_ES.npy,p1,ES,1\np2_ED.npy,p2,ED,0\n")
    exams = open_exams(path, columns=["ill"], exam="subject", plane="phase")
    assert [(e.name, sorted(e.planes)) for e in exams.exams] == [("p1", ["ED", "ES"]), ("p2", ["ED"])]
    assert exams.notes == ("1 of 2 exams have no ES scan",)
    path.write_text("file,slice,ill\np1_ED.npy,0,1\n")
    with pytest.raises(FormatError, match="labels of slices"):
        open_exams(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="neither an MRNet-style"):
        open_exams(tmp_path / "empty")


def exam_set(values: list[int], people: list[str] | None = None, part: str = "") -> ExamSet:
    people = people or [f"p{n}" for n in range(len(values))]
    exams = [
        Exam(f"e{n}", p, {"": Path("x")}, (float(v),), part)
        for n, (v, p) in enumerate(zip(values, people, strict=True))
    ]
    return ExamSet("several", ("ill",), tuple(exams))


def test_labels_that_teach_nothing_are_refused() -> None:
    with pytest.raises(SettingsError, match="all of the exams lack 'ill'"):
        check_labels(exam_set([0, 0]), "the exams")
    with pytest.raises(SettingsError, match="all of those to learn from have 'ill'"):
        check_labels(exam_set([1, 1]), "those to learn from")
    never = ExamSet(
        "one",
        ("a", "b", "c"),
        tuple(Exam(str(n), str(n), {"": Path("x")}, v) for n, v in enumerate([(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)])),
    )
    with pytest.raises(SettingsError, match="none of the exams is 'c'"):
        check_labels(never, "the exams")
    alike = ExamSet("one", ("a",), (Exam("e", "p", {"": Path("x")}, (1.0,)),))
    with pytest.raises(SettingsError, match="all of the exams are 'a'"):
        check_labels(alike, "the exams")
    with pytest.raises(FormatError, match="no exam"):
        check_exams(ExamSet("one", ("a",), ()))


@pytest.mark.parametrize("seed", range(5))
def test_people_stay_on_one_side(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = [f"p{n}" for n in rng.integers(0, 30, 100)]
    ill = {p: int(rng.random() < 0.3) for p in people}
    exams = exam_set([ill[p] for p in people], people)
    parts = divide_exams(exams, seed=seed)
    sides = [set(exams.people[p]) for p in (parts.train, parts.tuning, parts.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert sorted(np.concatenate([parts.train, parts.tuning, parts.test])) == list(range(100))
    count = len(set(people))
    assert abs(len(sides[1]) - 0.2 * count) <= 2
    assert abs(len(sides[2]) - 0.2 * count) <= 2
    with pytest.raises(ValueError, match="on both sides"):
        Parts(parts.train, parts.train[:1], parts.test, exams.people)


def test_given_parts_are_kept() -> None:
    exams = exam_set([0, 1] * 10, part="train")
    tested = exam_set([0, 1], ["t1", "t2"], part="test")
    renamed = tuple(Exam(f"t{n}", e.person, e.planes, e.values, e.part) for n, e in enumerate(tested.exams))
    parts = divide_exams(ExamSet("several", ("ill",), exams.exams + renamed))
    assert parts.test.tolist() == [20, 21]
    assert len(parts.tuning) == 4
    assert not set(parts.tuning) & {20, 21}
    mixed = (Exam("a", "p", {"": Path("x")}, (0.0,), "train"), Exam("b", "p", {"": Path("x")}, (1.0,), "test"))
    with pytest.raises(FormatError, match="both in train and in test"):
        check_exams(ExamSet("several", ("ill",), mixed))


def test_planes_are_told_by_their_direction() -> None:
    def stacked(axis: int) -> Volume:
        affine = np.zeros((4, 4))
        affine[axis, 0], affine[(axis + 1) % 3, 1], affine[(axis + 2) % 3, 2], affine[3, 3] = -3.0, 1.0, 1.0, 1.0
        return Volume(np.zeros((2, 3, 4)), affine)

    assert [plane_of(stacked(n)) for n in range(3)] == ["sagittal", "coronal", "axial"]


def test_arrays_that_are_no_slices(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros((4, 5)))
    assert read_plane(tmp_path / "one.npy").shape == (1, 4, 5)
    np.save(tmp_path / "four.npy", np.zeros((2, 2, 2, 2)))
    with pytest.raises(FormatError, match="shape"):
        read_plane(tmp_path / "four.npy")
    np.save(tmp_path / "objects.npy", np.array([None, {}]), allow_pickle=True)
    with pytest.raises(FormatError, match="no array of numbers"):
        read_plane(tmp_path / "objects.npy")
