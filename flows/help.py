"""Order the help of `seismill`: commands by use, an example, and the flags of most runs first.

A verb that is not named here appears below More; a test requires an example of each verb.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

START, MORE, SERVER = (
    Group(title, sort_key=place) for place, title in enumerate(("Start here", "More", "Server"))
)
MOST_USED, OTHERS = Group("Most used", sort_key=-2), Group("Other", sort_key=-1)

_GROUPS = {
    START: ("demo", "scan", "publish", "view", "info", "verify", "export-segy"),
    SERVER: ("up", "down", "register", "metrics"),
}

EXAMPLES = {
    "audit": ("seismill audit s3://volumes/ --fraction 0.05",),
    "completion": ("seismill completion bash > ~/.local/share/bash-completion/completions/seismill",),
    "copy": ("seismill copy survey.zarr gs://volumes/survey.zarr",),
    "demo": ("seismill demo",),
    "down": ("seismill down",),
    "export-ome": ("seismill export-ome rock.zarr rock-0.4.zarr",),
    "export-segy": (
        "seismill export-segy survey.zarr again.sgy --check",
        "seismill export-segy survey.zarr part.sgy --selection inline=100:200",
    ),
    "info": ("seismill info survey.zarr --text",),
    "ingest-images": (
        "seismill ingest-images 'scan/*.tif' rock.zarr --voxel-length 2.25,2.25,2.25 --voxel-unit micrometer",
    ),
    "ingest-segy": ("seismill ingest-segy survey.sgy survey.zarr --index-bytes 9,21",),
    "make-image": ("seismill make-image try.zarr --shape 512,512,512 --chunks 64,64,64 --dtype uint16",),
    "migrate": ("seismill migrate old.mdio survey.zarr",),
    "prove": ("seismill prove survey.zarr",),
    "publish": (
        "seismill publish survey.sgy survey.zarr",
        "seismill publish 'scan/*.tif' rock.zarr --voxel-length 2.25 --voxel-unit micrometer",
        "seismill publish s3://staging/survey.sgy s3://volumes/survey.zarr --index-bytes 9,21 --dry-run",
    ),
    "pyramid": ("seismill pyramid survey.zarr", "seismill pyramid any.zarr --array field/0 --levels 3"),
    "rechunk": ("seismill rechunk survey.zarr --copy fast_line=4,512,512 --quality high",),
    "metrics": ("seismill metrics --port 9464",),
    "register": ("seismill register kubernetes",),
    "report": ("seismill report survey.zarr",),
    "scan": ("seismill scan survey.sgy", "seismill scan 'line_*.sgy'"),
    "sweep": ("seismill sweep s3://staging/ s3://volumes/ --dry-run",),
    "up": ("seismill up /data",),
    "verify": ("seismill verify survey.zarr --errors", "seismill verify survey.zarr --repair from_master"),
    "view": ("seismill view survey.zarr",),
}

# The five flags, at most, that most runs of a verb need.
FLAGS = {
    "publish": ("--index-bytes", "--quality", "--presets", "--dry-run", "--overwrite"),
    "migrate": ("--index-bytes", "--quality", "--presets", "--dry-run", "--overwrite"),
    "ingest_segy": ("--index-bytes", "--chunks", "--dry-run", "--overwrite"),
    "ingest_images": ("--voxel-length", "--voxel-unit", "--dtype", "--shape", "--dry-run"),
    "rechunk": ("--presets", "--copy", "--quality", "--dry-run", "--overwrite"),
    "pyramid": ("--levels", "--array", "--target", "--dry-run", "--overwrite"),
    "export_segy": ("--check", "--selection", "--mask", "--dry-run", "--overwrite"),
    "sweep": ("--deployment", "--retry", "--settle-minutes", "--dry-run"),
    "scan": ("--index-bytes", "--template"),
    "verify": ("--errors", "--repair", "--fraction"),
    "copy": ("--includes", "--excludes", "--dry-run", "--overwrite"),
}


def placed(name: str) -> dict[str, Any]:
    """Return the group of a command and its place in it, and its examples, which are shown below its help."""
    found: dict[str, Any] = {"group": MORE}
    for group, names in _GROUPS.items():
        if name in names:
            found = {"group": group, "sort_key": names.index(name)}
    if name in EXAMPLES:
        found["help_epilogue"] = "\n".join(("Example:", *(f"  {line}" for line in EXAMPLES[name])))
    return found


def commands(app: App) -> Iterator[str]:
    """Yield the names of the commands, without those of --help and --version."""
    return (name for name in app if not name.startswith("-"))


def shown_first(verb: str, flag: str, annotation: Any) -> Any:
    """Return the annotation of a flag, in the group of those most used where the verb needs it most."""
    if flag not in FLAGS.get(verb, ()):
        return annotation
    return Annotated[annotation, Parameter(group=MOST_USED)]
