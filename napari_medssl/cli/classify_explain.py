"""`medssl classify explain`: where in a scan a trained head finds its evidence."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.cli.arguments import add_compute, add_reading, add_settings, reading, slice_range
from napari_medssl.errors import SettingsError

if TYPE_CHECKING:
    from napari_medssl.classify.explain import ExplainSettings, Explanation
    from napari_medssl.classify.slices.head import SliceHead
    from napari_medssl.cli.console import Console
    from napari_medssl.volume import Volume

LINE = "show where in a scan the evidence for a class lies"
_CHECKED = 3  # slices of strongest evidence that --check looks at


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.epilog = (
        "HEAD is what slices learn or train has written. The map is 1 where the evidence is strongest, whatever the\n"
        "score: it says where, not whether. --check says how far to believe it."
    )
    parser.add_argument("head", type=Path, nargs="?", help="file of slices learn, or folder of train")
    parser.add_argument("image", type=Path, nargs="?", metavar="SCAN", help="scan or DICOM folder")
    parser.add_argument("--class", dest="name", metavar="NAME", help="class or label; only one need not be named")
    parser.add_argument(
        "--method",
        choices=("gradcam", "gradcam++", "occlusion", "integrated"),
        help="default: gradcam; occlusion and integrated (gradients) take minutes",
    )
    parser.add_argument("--out", type=Path, metavar="FILE.nii.gz", help="the evidence, 0 to 1, on the scan's own grid")
    parser.add_argument("--overlay", type=Path, metavar="PNG", help="also a picture of the strongest slices")
    parser.add_argument("--slices", metavar="LO:HI", help="only slices LO to HI-1, counted from 0; not for exams")
    parser.add_argument("--plane", default="", help="exams: the plane SCAN shows, when there are several")
    parser.add_argument("--check", action="store_true", help="also random weights, and deletion and insertion")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    add_reading(parser)
    add_compute(parser)
    add_settings(parser)


def run(args: argparse.Namespace, console: Console) -> int | None:
    """Explain, print, write."""
    from napari_medssl.classify.explain import ExplainSettings
    from napari_medssl.cli.options import settings_from
    from napari_medssl.cli.outputs import check_outputs
    from napari_medssl.cli.settings_list import list_settings
    from napari_medssl.io.formats import format_to_write
    from napari_medssl.report import report_path

    if args.list_settings:
        return list_settings(console, ExplainSettings)
    missing = [n for n, v in (("HEAD", args.head), ("SCAN", args.image), ("--out", args.out)) if v is None]
    if missing:
        console.problem(f"explain needs {', '.join(missing)}; see medssl classify explain --help")
        return 2
    chosen = [*args.set, *([f"method={args.method}"] if args.method else [])]
    settings = settings_from(ExplainSettings, file=args.settings, assignments=chosen)
    format_to_write(args.out)
    wanted = [args.out, report_path(args.out), *([args.overlay] if args.overlay else [])]
    check_outputs(wanted, inputs=[args.image], force=args.force)
    explain = _explain_exam if _is_exam(args.head) else _explain_slices
    volume, found, checks = explain(args, settings, console)
    _write(args, volume, found, checks, console)
    return None


def _is_exam(path: Path) -> bool:
    """Whether a path is a classifier of exams; their folder has a JSON and no head of slices."""
    from napari_medssl.classify.exams.model_file import HEAD
    from napari_medssl.classify.head_file import head_path

    return path.name == HEAD or (path.is_dir() and (path / HEAD).is_file() and not head_path(path).is_file())


def _explain_slices(
    args: argparse.Namespace, settings: ExplainSettings, console: Console
) -> tuple[Volume, Explanation, dict[str, Any]]:
    from napari_medssl.classify.explain import check_head_steps, explain_head_steps
    from napari_medssl.classify.head_file import load_head
    from napari_medssl.classify.slices.vectors import encoder_facts
    from napari_medssl.engine import Engine
    from napari_medssl.io import read

    with Engine(device=args.device, weights=args.weights) as engine:
        head = load_head(args.head, encoder=encoder_facts(engine))
        name = _named(args.name, head.classes)
        volume = read(args.image, **reading(args))
        span = slice_range(args.slices, volume.shape[0])
        slices = list(range(*span)) if span else None
        if slices is None and settings.method in ("occlusion", "integrated"):
            slices = _found_slices(head, name, volume, engine, console)
        steps = explain_head_steps(engine, head, volume, name, settings=settings, slices=slices)
        found = console.follow(steps)
        checks: dict[str, Any] = {}
        if args.check:
            strongest = sorted(int(z) for z in (-found.per_slice).argsort()[:_CHECKED] if found.per_slice[z] > 0)
            if not strongest:
                raise SettingsError(f"nothing speaks for {name!r} here, so there is nothing to check")
            sanity, curves = console.follow(check_head_steps(engine, head, volume, name, strongest, settings=settings))
            checks = {"slices": strongest, "sanity": sanity.facts(), "curves": curves.facts()}
    return volume, found, checks


def _found_slices(head: SliceHead, name: str, volume: Volume, engine: Any, console: Console) -> list[int]:
    """Slices that show the class, or the one that does most: others need not be hidden part by part."""
    from napari_medssl.classify.slices.vectors import slice_vectors_steps

    scores = head.scores(console.follow(slice_vectors_steps(engine, volume)))
    probability, _ = scores.of(name)
    found = [int(z) for z in (probability >= head.threshold_of[name]).nonzero()[0]] or [int(probability.argmax())]
    console.remark(f"{len(found)} of {len(probability)} slices show {name} or come nearest; --slices chooses others")
    return found


def _explain_exam(
    args: argparse.Namespace, settings: ExplainSettings, console: Console
) -> tuple[Volume, Explanation, dict[str, Any]]:
    from napari_medssl.classify.exams.evidence import evidence_steps
    from napari_medssl.classify.exams.model_file import load_exam_model
    from napari_medssl.classify.exams.planes import read_plane
    from napari_medssl.classify.explain import as_bag, explain_sanity_steps, framed_slices
    from napari_medssl.engine.device import choose_device

    if args.slices:
        raise SettingsError("--slices is for heads of slices; an exam classifier judges all of them together")
    model = load_exam_model(args.head)
    label = model.labels.index(_named(args.name, model.labels))
    plane = args.plane or model.planes[0]
    if plane not in model.planes or (not args.plane and len(model.planes) > 1):
        raise SettingsError(f"say with --plane which plane {args.image} shows: {', '.join(model.planes)}")
    volume = read_plane(args.image, series=reading(args)["series"])
    device = choose_device(args.device)
    found = console.follow(evidence_steps(model, plane, volume, label, device=device, settings=settings))
    if not args.check:
        return volume, found, {}
    network = model.networks[plane]
    shown = as_bag(framed_slices(volume, network.encoder, size=model.source.size))
    named = {"layer": found.report["layer"]} if found.report["layer"] else {}
    sanity = console.follow(explain_sanity_steps(network, shown, target=label, settings=_with(settings, **named)))
    return volume, found, {"sanity": sanity.facts()}


def _with(settings: ExplainSettings, **changes: Any) -> ExplainSettings:
    import dataclasses

    return dataclasses.replace(settings, **changes)


def _named(name: str | None, known: tuple[str, ...]) -> str:
    if name is None and len(known) == 1:
        return known[0]
    if name not in known:
        raise SettingsError(f"--class is {name!r}; the head knows: {', '.join(known)}")
    return name


def _write(
    args: argparse.Namespace, volume: Volume, found: Explanation, checks: dict[str, Any], console: Console
) -> None:
    from napari_medssl.cli.evidence_picture import save_evidence
    from napari_medssl.io import write
    from napari_medssl.report import environment, report_path, write_report

    for note in (*volume.notes, *found.report["notes"]):
        console.remark(note)
    name, peak = found.report["class"]["name"], found.report["peak"]
    where = "none" if peak is None else "slice {} row {} column {}".format(*peak["zyx"])
    mm = "" if peak is None else " (R {:.0f}, A {:.0f}, S {:.0f} mm)".format(*peak["ras_mm"])
    console.say(f"{name}: strongest evidence at {where}{mm}, in {found.report['seconds']:.1f} s")
    if "sanity" in checks:
        console.say(checks["sanity"]["sentence"])
    if "curves" in checks:
        c = checks["curves"]
        console.say(f"deletion {c['deletion']:.3f} (random {c['random_deletion']:.3f}), "
                    f"insertion {c['insertion']:.3f} (random {c['random_insertion']:.3f})")  # fmt: skip
    write(args.out, found.evidence)
    if args.overlay is not None:
        save_evidence(args.overlay, volume, found.evidence, caption=f"evidence for {name}; research use only")
    facts = {**environment(), "command": ["medssl", *args.argv], "head": args.head, "image": args.image}
    write_report(report_path(args.out), {**facts, **found.report, "checks": checks})
    console.say(f"written: {args.out}" + (f", {args.overlay}" if args.overlay else ""))
