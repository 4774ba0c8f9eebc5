"""An upper abdomen in patient coordinates: which solids there are, how they lie, and how patients differ.

The origin is the middle of the body between T12 and L1; right, anterior and superior are positive. Sizes are those of
an adult of medium build. Nothing is taken from an atlas: the shapes are composed from ellipsoids, tubes and cuts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_medssl.labels import PALETTE, Label
from napari_medssl.samples.shapes import Depth, Point, Points, both, either, ellipsoid, outline, tube, turned

ORGANS: tuple[Label, ...] = tuple(
    Label(value, name, PALETTE[value - 1])
    for value, name in enumerate(
        ("liver", "right kidney", "left kidney", "spleen", "stomach", "aorta", "inferior vena cava", "spine"), start=1
    )
)
"""Label values of the phantom; 1 to 4 are numbered as in the CHAOS challenge."""
VALUES = {label.name: label.value for label in ORGANS}

Box = tuple[float, float, float, float, float, float]
Paint = Callable[[str, Depth, int], None]
Part = tuple[slice, ...]


@dataclass(frozen=True)
class Patient:
    """What differs from person to person.

    size: body scale around 1. fat_mm: subcutaneous fat. shift: organ to displacement (r, a, s) in mm.
    scale: organ to size factor. gas: share of the stomach filled with gas, 0 to 1. phases: of the bowel loops.
    """

    size: float
    fat_mm: float
    shift: dict[str, npt.NDArray[np.float64]]
    scale: dict[str, float]
    gas: float
    phases: npt.NDArray[np.float64]

    @staticmethod
    def drawn(rng: np.random.Generator) -> Patient:
        """A patient at random. The spreads are chosen so that organs stay in their places."""
        parts = ("liver", "right kidney", "left kidney", "spleen", "stomach", "gallbladder", "pancreas")
        return Patient(
            size=float(rng.uniform(0.93, 1.05)),
            fat_mm=float(rng.uniform(8, 20)),
            shift={part: rng.normal(0, 1, 3).clip(-2, 2) * (2.0, 2.5, 5.0) for part in parts},
            scale={part: float(rng.uniform(0.92, 1.08)) for part in parts},
            gas=float(rng.uniform(0.2, 0.6)),
            phases=rng.uniform(0, 2 * np.pi, 3),
        )


class Scene:
    """Draws one patient on a piece of grid, from the back to the front; later solids cover earlier ones.

    points: where each voxel lies in the undeformed patient.
    find: gives the part of the grid that covers a box (r0, r1, a0, a1, s0, s1) in mm.
    paint: called with the part of the grid, tissue, depth there, and label value (0 takes labels away).
    """

    def __init__(
        self,
        points: Points,
        patient: Patient,
        find: Callable[[Box], Part],
        paint: Callable[[Part, str, Depth, int], None],
    ) -> None:
        self._all = points
        self._patient = patient
        self._find = find
        self._paint = paint
        self._skin = outline(points, 155.0, 108.0)
        self._wall_mm = np.float32(11.0)
        self._cavity = self._skin - np.float32(patient.fat_mm) - self._wall_mm

    def draw(self) -> None:
        """Everything, in the order in which one covers the other."""
        self._draw_wall()
        self._draw_bowel()
        self._draw_liver()
        self._draw_spleen()
        self._draw_pancreas()
        self._draw_stomach()
        self._draw_kidney("right kidney", 1.0)
        self._draw_kidney("left kidney", -1.0)
        self._draw_chest()
        self._draw_muscles()
        self._draw_spine()
        self._draw_vessels()

    def _part(self, box: Box) -> tuple[Points, Depth, Paint] | None:
        """Points, depth below the inner side of the body wall, and brush for a box; None when it misses the grid."""
        part = self._find(box)
        points = self._all.at(part)
        if points.r.size == 0:
            return None

        def brush(tissue: str, depth: Depth, value: int) -> None:
            self._paint(part, tissue, depth, value)

        return points, self._cavity[part], brush

    def _moved(self, name: str, points: Points) -> Points:
        """Points as seen by an organ that is shifted as a whole in this patient."""
        r, a, s = self._patient.shift[name].astype(np.float32)
        return Points(points.r - r, points.a - a, points.s - s)

    def _draw_wall(self) -> None:
        everything = (slice(None), slice(None), slice(None))
        p, skin = self._all, self._skin
        self._paint(everything, "skin", skin, 0)
        self._paint(everything, "fat", skin - 2.5, 0)
        self._paint(everything, "muscle", skin - np.float32(self._patient.fat_mm), 0)
        # A sheet of fat between the layers of the flank, and the gap of the linea alba in front.
        flank = 1.0 - np.abs(skin - np.float32(self._patient.fat_mm + 5)) - 0.03 * np.maximum(0, np.abs(p.a) - 40)
        self._paint(everything, "fat", flank, 0)
        self._paint(everything, "fat", self._cavity, 0)

    def _draw_bowel(self) -> None:
        """Loops as a gyroid-like surface (long winding channels that never cross), and the colon as a frame."""
        found = self._part((-135, 135, -45, 110, -400, 40))
        if found is None:
            return
        p, cavity, brush = found
        k = np.float32(2 * np.pi / 52)
        x, y, z = (c * k + np.float32(f) for c, f in zip((p.r, p.a, p.s * 0.8), self._patient.phases, strict=True))
        x, y, z = x + 0.9 * np.sin(1.7 * y + z), y + 0.9 * np.sin(1.3 * z - x), z + 0.9 * np.sin(1.5 * x + 0.4 * y)
        winding = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x)
        room = both(cavity - 5, p.a + 8 + 0.05 * np.abs(p.r), 20 - p.s - 0.25 * p.a, 98 - np.abs(p.r))
        brush("bowel wall", both(winding * 8 - 1.0, room), 0)
        brush("bowel content", both(winding * 8 - 4.5, room - 3), 0)
        frame: tuple[Point, ...] = ((112.0, -5.0, -400.0), (112.0, 0.0, -25.0), (70.0, 55.0, -28.0), (0.0, 68.0, -42.0))
        frame += ((-70.0, 55.0, -15.0), (-108.0, 0.0, 12.0), (-114.0, -18.0, -30.0), (-112.0, -15.0, -400.0))
        colon = both(tube(p, frame, (19, 21, 17, 16, 16, 17, 14, 14)), cavity - 1) + 2.5 * np.sin(p.s / 6 + p.r / 7)
        brush("bowel wall", colon, 0)
        brush("stool", colon - 3, 0)
        brush("gas", both(colon - 3, p.a - 4 - 0.7 * (p.a - 8)), 0)

    def _liver(self, p: Points, cavity: Depth) -> Depth:
        """Right lobe, left lobe across the midline, dome below the diaphragm, hollow and sloping underside."""
        q, f = self._moved("liver", p), self._patient.scale["liver"]
        right = ellipsoid(q, (66, -2, 30), (84 * f, 88 * f, 84 * f))
        left = ellipsoid(q, (-12, 48, 48), (72 * f, 34 * f, 36 * f), turn=turned(-14, -10, 0))
        whole = either(right, left, blend_mm=18)
        # The underside falls from the left lobe to the tip of the right lobe, and is hollow towards the porta.
        under = (q.s + 8 + 0.62 * (q.r - 30) * (q.r < 130) - 0.42 * np.minimum(q.a - 20, 55)) * np.float32(0.78)
        hollow = -ellipsoid(q, (2, 2, -8), (42, 44, 52))
        fissure = -tube(q, ((18.0, 100.0, 20.0), (16.0, 40.0, 34.0), (12.0, 5.0, 48.0)), (3.0, 3.5, 2.0))
        # Behind it lie spine, psoas and the space of the kidney; only high up does it touch the back wall.
        behind = both(q.r - 30 + 3 * np.maximum(0, q.a + 28), q.a + 56 + 1.4 * np.maximum(0, q.s - 12))
        return both(whole, under, hollow, fissure, behind, self._dome(p) - 3, cavity - 1.5)

    def _draw_liver(self) -> None:
        found = self._part((-110, 150, -110, 115, -95, 110))
        if found is None:
            return
        p, cavity, brush = found
        liver = self._liver(p, cavity)
        brush("liver", liver, VALUES["liver"])
        branches = (
            (((14.0, 6.0, 14.0), (34.0, 8.0, 34.0), (66.0, 4.0, 40.0), (104.0, -18.0, 34.0)), (6.5, 6.0, 4.5, 2.5)),
            (((34.0, 8.0, 34.0), (18.0, 40.0, 46.0), (-22.0, 50.0, 52.0)), (5.0, 4.0, 2.5)),
            (((66.0, 4.0, 40.0), (78.0, 40.0, 28.0)), (4.5, 2.5)),
            (((18.0, -14.0, 72.0), (60.0, -8.0, 66.0), (104.0, 4.0, 48.0)), (6.0, 4.5, 2.5)),
            (((18.0, -14.0, 72.0), (40.0, 24.0, 64.0), (58.0, 58.0, 46.0)), (5.5, 4.0, 2.5)),
            (((18.0, -14.0, 72.0), (4.0, 30.0, 66.0), (-24.0, 48.0, 60.0)), (5.0, 3.5, 2.0)),
        )
        for path, radii in branches:
            brush("vein", both(tube(p, path, radii), liver - 2), VALUES["liver"])
        q = self._moved("gallbladder", p)
        bag = tube(q, ((34.0, 28.0, 6.0), (50.0, 50.0, -10.0), (58.0, 62.0, -24.0)), (6.0, 13.0, 15.0))
        brush("bowel wall", both(bag, cavity - 3), 0)
        brush("gallbladder", both(bag - 2, cavity - 5), 0)

    def _draw_spleen(self) -> None:
        """A half shell that hugs the diaphragm, hollow towards stomach and kidney."""
        found = self._part((-150, -45, -110, 40, -30, 110))
        if found is None:
            return
        p, cavity, brush = found
        q, f = self._moved("spleen", p), self._patient.scale["spleen"]
        body = ellipsoid(q, (-92, -36, 42), (36 * f, 54 * f, 52 * f), turn=turned(-24, 14, 16))
        hollow = -ellipsoid(q, (-58, -4, 44), (36, 44, 60), turn=turned(-28, 0, 0))
        notch = -tube(q, ((-150.0, 18.0, 58.0), (-104.0, 2.0, 56.0)), (4.0, 2.0))
        brush("spleen", both(body, hollow, notch, self._dome(p) - 3, cavity - 1.5), VALUES["spleen"])

    def _draw_pancreas(self) -> None:
        found = self._part((-120, 60, -60, 70, -60, 60))
        if found is None:
            return
        p, cavity, brush = found
        q, f = self._moved("pancreas", p), self._patient.scale["pancreas"]
        path = ((28.0, 4.0, -18.0), (24.0, 18.0, -2.0), (-8.0, 26.0, 8.0), (-42.0, 10.0, 18.0), (-72.0, -14.0, 30.0))
        lobules = 1.5 * np.sin(p.r / 4) * np.sin(p.s / 4 + p.a / 5)
        brush("pancreas", both(tube(q, path, (13 * f, 14 * f, 9 * f, 11 * f, 9 * f)) + lobules, cavity - 6), 0)
        splenic = ((14.0, 6.0, 14.0), (-20.0, 12.0, 16.0), (-60.0, -10.0, 30.0), (-84.0, -26.0, 40.0))
        brush("vein", tube(q, splenic, (6.5, 5.0, 4.5, 3.0)), 0)

    def _draw_stomach(self) -> None:
        """Fundus under the left diaphragm, body in front of the spleen, antrum across the midline, gas in front."""
        found = self._part((-125, 60, -60, 105, -70, 110))
        if found is None:
            return
        p, cavity, brush = found
        q, f = self._moved("stomach", p), self._patient.scale["stomach"]
        path: tuple[Point, ...] = (
            (-52.0, -14.0, 62.0),
            (-62.0, 12.0, 42.0),
            (-62.0, 40.0, 14.0),
            (-34.0, 58.0, -10.0),
            (6.0, 50.0, -8.0),
        )
        path += ((26.0, 36.0, 0.0),)
        folds = 0.8 * np.sin(p.s / 4 + p.r / 6)
        wall: Depth = tube(q, path, (30 * f, 31 * f, 27 * f, 20 * f, 14 * f, 9 * f)) + folds
        wall = both(wall, self._dome(p) - 4, cavity - 3)
        brush("stomach wall", wall, VALUES["stomach"])
        brush("stomach content", wall - 4.5, VALUES["stomach"])
        level = np.float32(70 - 60 * self._patient.gas)
        brush("gas", both(wall - 4.5, p.a - level), VALUES["stomach"])

    def _draw_kidney(self, name: str, side: float) -> None:
        """A bean with its upper pole towards the spine: cortex, pyramids, fatty sinus and pelvis, in a coat of fat."""
        found = self._part((10, 115, -105, 30, -85, 90) if side > 0 else (-115, -10, -105, 30, -85, 90))
        if found is None:
            return
        p, cavity, brush = found
        q, f = self._moved(name, p), self._patient.scale[name]
        q = Points(q.r * np.float32(side) - 60, q.a + 44, q.s - (-14 if side > 0 else 0))
        lean = turned(28, 9, -8)
        bean = ellipsoid(q, (0, 0, 0), (29 * f, 25 * f, 56 * f), turn=lean)
        hilum = ellipsoid(q, (-31, 20, 0), (22, 20, 26))
        kidney = either(bean, np.full_like(bean, -99), blend_mm=1) - np.maximum(0, hilum + 2)
        brush("fat", both(kidney + 9, cavity + 2), 0)
        kidney = both(kidney, -hilum, cavity - 3)
        brush("cortex", kidney, VALUES[name])
        turn = np.arctan2(q.a - 6, q.r + 6)
        pyramids = 3.5 * np.sin(q.s / 4.5) + 3.5 * np.sin(5 * turn + q.s / 14)
        brush("medulla", both(kidney - 6, 2.5 + pyramids), VALUES[name])
        sinus = both(ellipsoid(q, (-9, 6, 0), (15 * f, 11 * f, 30 * f), turn=lean), kidney - 1)
        brush("fat", sinus, 0)
        brush("kidney pelvis", ellipsoid(q, (-14, 9, -2), (14, 6, 14)), 0)
        brush("vein", tube(q, ((-46.0, 26.0, 6.0), (-14.0, 9.0, 2.0)), (4.5, 3.0)), 0)

    def _dome(self, p: Points) -> Depth:
        """How far below the diaphragm: two domes, high in the middle and falling steeply to the back."""
        right = 90 - 26 * ((p.r - 66) / 70) ** 2 - 30 * ((p.a - 12) / 75) ** 2
        left = 80 - 26 * ((p.r + 66) / 70) ** 2 - 30 * ((p.a - 12) / 75) ** 2
        return np.maximum(right, left) - p.s

    def _draw_chest(self) -> None:
        found = self._part((-160, 160, -115, 115, -30, 400))
        if found is None:
            return
        p, cavity, brush = found
        above = -self._dome(p)
        brush("lung", both(above, cavity - 0.5), 0)
        heart = ellipsoid(p, (-18, 32, 128), (60, 46, 62))
        brush("heart", both(heart, cavity - 3, above - 2), 0)
        brush("vein", tube(p, ((96.0, -50.0, 60.0), (70.0, -30.0, 130.0)), (2.0, 5.0)), 0)
        brush("vein", tube(p, ((-96.0, -50.0, 60.0), (-70.0, -30.0, 130.0)), (2.0, 5.0)), 0)

    def _draw_muscles(self) -> None:
        """The columns beside the spine; the psoas grows downwards."""
        for side in (1.0, -1.0):
            found = self._part((5, 90, -110, 10, -400, 400) if side > 0 else (-90, -5, -110, 10, -400, 400))
            if found is None:
                continue
            p, cavity, brush = found
            q = Points(p.r * np.float32(side), p.a, p.s)
            thin = Points(q.r, q.a, q.s * np.float32(0.02))
            brush("muscle", both(ellipsoid(thin, (34, -80, 0), (31, 19, 60)), cavity + self._wall_mm), 0)
            psoas = ((24.0, -44.0, 20.0), (34.0, -42.0, -40.0), (48.0, -34.0, -110.0), (56.0, -20.0, -400.0))
            brush("muscle", tube(q, psoas, (4.0, 15.0, 24.0, 26.0)), 0)
            lumborum = ellipsoid(thin, (62, -66, 0), (20, 9, 40))
            brush("muscle", both(lumborum, 5 - q.s), 0)
            crus = ((14.0, -34.0, -30.0), (14.0, -26.0, 30.0), (22.0, -16.0, 62.0))
            brush("muscle", tube(q, crus, (4.0, 5.0, 3.0)), 0)

    def _draw_spine(self) -> None:
        """Vertebrae with discs between them, arch and processes around the canal, and ribs that fall to the front."""
        found = self._part((-60, 60, -115, 5, -400, 400))
        if found is not None:
            p, _, brush = found
            level = np.abs((p.s + 6) / 34 - np.rint((p.s + 6) / 34)) * 34  # mm from the middle of a vertebra, 0 to 17
            thin = Points(p.r, p.a, p.s * np.float32(0.001))
            body = ellipsoid(thin, (0, -46, 0), (22, 17, 999)) - 0.12 * np.maximum(0, 10 - level)
            spine = VALUES["spine"]
            arch = ellipsoid(thin, (0, -70, 0), (17, 13, 999)) - 0.25 * np.maximum(0, level - 11)
            spinous = both(tube(thin, ((0, -78, 0), (0, -99, 0)), (4.5, 3.5)), 13 - level)
            wings = both(tube(thin, ((-38, -72, 0), (0, -66, 0), (38, -72, 0)), (3.5, 6, 3.5)), 9 - level)
            brush("bone shell", both(either(arch, either(spinous, wings, blend_mm=3), blend_mm=4), 14 - level), spine)
            brush("disc", both(body, level - 12), spine)
            brush("bone shell", both(body, 13 - level), spine)
            brush("marrow", both(body - 2, 11.5 - level), spine)
            brush("canal", ellipsoid(thin, (0, -70, 0), (9.5, 7.5, 999)), 0)
            brush("cord", ellipsoid(thin, (0, -70.5, 0), (4.5, 3.5, 999)), 0)
        self._draw_ribs()

    def _draw_ribs(self) -> None:
        found = self._part((-400, 400, -115, 75, -60, 400))
        if found is None:
            return
        p, cavity, brush = found
        slope = p.s + 0.55 * p.a
        off = (slope / 26 - np.rint(slope / 26)) * 20
        rib: Depth = 5.0 - np.sqrt((cavity + np.float32(0.5 * self._wall_mm)) ** 2 + off * off)
        rib = both(rib, slope + 62, np.abs(p.r) - 30, 70 - p.a)
        brush("bone shell", rib, 0)
        brush("marrow", rib - 2, 0)

    def _draw_vessels(self) -> None:
        found = self._part((-60, 60, -70, 40, -400, 400))
        if found is None:
            return
        p, _, brush = found
        aorta: tuple[Point, ...] = (
            (-12.0, -30.0, 400.0),
            (-12.0, -28.0, 90.0),
            (-7.0, -20.0, 30.0),
            (-6.0, -17.0, -60.0),
        )
        aorta += ((-4.0, -17.0, -400.0),)
        brush("artery", tube(p, ((-7.0, -16.0, 16.0), (-6.0, 0.0, 8.0), (-4.0, 6.0, -40.0)), (4, 4, 3)), 0)
        for side, low in ((1.0, -14.0), (-1.0, 0.0)):
            brush("vein", tube(p, ((10 * side, -14.0, low + 4), (34 * side, -30.0, low)), (5, 4)), 0)
        cava = (
            (20.0, -12.0, 120.0),
            (20.0, -14.0, 76.0),
            (19.0, -15.0, 20.0),
            (17.0, -16.0, -60.0),
            (16.0, -16.0, -400.0),
        )
        flat = Points(p.r, (p.a + 15) * np.float32(1.25) - 15, p.s)
        brush("vein", tube(flat, cava, (11.0, 11.5, 11.5, 10.5, 10.0)), VALUES["inferior vena cava"])
        brush("artery", tube(p, aorta, (12.0, 11.5, 10.5, 9.5, 9.0)), VALUES["aorta"])
