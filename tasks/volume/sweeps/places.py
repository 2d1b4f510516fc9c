"""Name the volumes of a sweep after their sources."""

from tasks.volume.outcomes import InputRefused
from tasks.volume.sweeps.keys import stem_of
from tasks.volume.sweeps.sidecar import SIDECAR


def volume_name(name: str) -> str:
    """Return the name of the volume of a source: a/b.sgy, a/b.seismill.yaml and the folder a/b/ give a/b.zarr.

    Empty parts are left out, and characters with a meaning in parameters are percent-encoded, so that the volume's URL
    can be used as a parameter.
    """
    if name.endswith("/"):
        stem = name
    else:
        stem = name.removesuffix(SIDECAR) if name.endswith(SIDECAR) else stem_of(name)
    parts = [_plain_part(part) for part in stem.split("/")]
    return "/".join(filter(None, parts)) + ".zarr"


def _plain_part(part: str) -> str:
    reserved = "@?,*[:" if "::" in part or part.endswith(":") else "@?,*["
    return "".join(f"%{ord(letter):02X}" if letter in reserved else letter for letter in part)


def refuse_nested(staging: str, volumes: str) -> None:
    """Raise a refusal if one prefix lies in the other."""
    entry, other = f"{staging}/", f"{volumes}/"
    if entry.startswith(other) or other.startswith(entry):
        raise InputRefused(
            f"one of {staging} and {volumes} lies in the other; give staging and volumes prefixes of their own, as "
            "a listing of one would go through all objects of the other"
        )
