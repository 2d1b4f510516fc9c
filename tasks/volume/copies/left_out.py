"""Select the arrays of a volume to copy elsewhere: copies and levels, with or without the lossless array."""

from collections.abc import Callable

from tasks.volume.arrays.groups import PYRAMID
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import RAW_SAMPLES, STATISTICS
from tasks.volume.arrays.volume_root import LABELS, Root
from tasks.volume.outcomes import InputRefused

LEFT_OUT = (
    "without {0} the copies are lossy only: no proof, no export of the source, and no copies or levels of it"
)


def selected_root(source: Volume, includes: list[str], excludes: list[str]) -> Root:
    """Return the root of a copy: the volume's, without the copies and levels that are left out.

    Without the master, its most exact copy takes its place, and the root says so.

    Raises:
        InputRefused: A name is none of those that can be left out, or no copy would be left.
    """
    copies = sorted(
        p for p in source.members if source.array_attributes(p).get("copy_of") == source.master_name
    )
    optional = [*copies, *([] if source.left_out or not copies else [source.master])]
    optional += [PYRAMID] if source.has(PYRAMID) else []
    optional += [LABELS] if source.root.label_names else []
    if source.left_out:
        optional.remove(source.master)  # it stands in the master's place
    unknown = [name for name in (*includes, *excludes) if name not in optional]
    if unknown:
        raise InputRefused(
            f"{source.store.url} has no {unknown[0]} to include or leave out; it has {', '.join(optional) or 'none'}"
        )
    gone = [
        name
        for name in optional
        if name in excludes or (includes and name not in includes and name != source.master)
    ]
    left = [path for path in copies if path not in gone]
    if source.master in gone and not left:
        raise InputRefused(
            f"no array of {source.store.url} would be left without {source.master} and {', '.join(copies)}; keep "
            "one of them"
        )
    root = source.root.without([LABELS, *gone])  # label volumes are copied by themselves, and listed then
    if source.master in gone:
        gone.remove(source.master)  # its plan, with the grid of traces, stays
        root = _left_out(source, root, min(left, key=lambda p: source.array_attributes(p)["max_abs_error"]))
    root = root.with_stages(dict.fromkeys(gone))
    root = root.with_levels(level for level in root.state.levels if level.path in root.members)
    return _with_datasets(root, lambda path: path if path in root.members else "")


def _left_out(source: Volume, root: Root, standing_in: str) -> Root:
    """Return the root of copies without their master, its words and what only an export of it needs."""
    about = source.array_attributes(source.master)
    statistics = {name: about[name] for name in STATISTICS if name in about}
    attributes = {**root.attributes["attributes"], "defaultVariableName": standing_in}
    root = root.without([RAW_SAMPLES, "sample_exceptions", f"unplaced/{RAW_SAMPLES}"])
    root = root.with_attributes(attributes=attributes).with_state(
        left_out={"array": source.master, "statistics": statistics},
        **dict.fromkeys(("proven_at", "proven_plan", "compared_at", "compared_plan", "exceptions")),
    )

    def stood_in(path: str) -> str:
        return standing_in if path == source.master else path

    root = root.with_levels(
        level.model_copy(update={"path": stood_in(level.path)}) for level in root.state.levels
    )
    return _with_datasets(root, stood_in)


def _with_datasets(root: Root, named: Callable[[str], str]) -> Root:
    """Return a root whose images have datasets of other paths; one whose path is empty goes."""
    if "multiscales" not in (ome := root.attributes.get("ome", {})):
        return root
    images = [
        image
        | {
            "datasets": [
                dataset | {"path": path} for dataset in image["datasets"] if (path := named(dataset["path"]))
            ]
        }
        for image in ome["multiscales"]
    ]
    return root.with_attributes(ome=ome | {"multiscales": images})
