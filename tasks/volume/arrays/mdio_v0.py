"""Read volumes of multidimio 0.8 (Zarr v2) like our own, under our names for their arrays.

Such a volume keeps its dimensions, texts and statistics in attributes. It is only read, never changed.
"""

import json
import re
from typing import Any

import numpy as np

from tasks.parameters import StorageOptions
from tasks.volume.arrays.documents import object_from
from tasks.volume.arrays.reader import Volume
from tasks.volume.arrays.spec import AS_FOUND, DTYPES
from tasks.volume.arrays.volume_root import Root
from tasks.volume.outcomes import InputRefused
from tasks.volume.store.objects import Store
from tasks.volume.store.url import Location

DOCUMENT = ".zmetadata"  # the consolidated metadata, without which multidimio opens nothing
SAMPLES, LIVE, HEADERS, FILE_HEADER = "amplitude", "trace_mask", "headers", "segy_file_header"
STATISTICS = ("mean", "std", "rms", "min", "max")
_PATTERN = re.compile(r"data/(chunked_\w+)/\.zarray")


class MdioV0(Store):
    """The objects of such a volume, under the names that its arrays have in a volume of Seismill.

    Attributes:
        attributes: Attributes of its root.
        header: Attributes of its SEG-Y headers: `text_header` and `binary_header`.
        arrays: The `.zarray` of each array by its name here.
    """

    def __init__(self, url: str | Location, options: StorageOptions | None = None, data: bytes = b"") -> None:
        """Read the metadata of the volume at `url`.

        Raises:
            InputRefused: The place holds no such volume, or another version of multidimio wrote it.
        """
        super().__init__(url, options)
        self._places: dict[str, str] = {}
        self._values: dict[str, bytes] = {}
        try:
            data = data or self.get(DOCUMENT)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise InputRefused(
                f"there is no volume of multidimio 0.8 at {self.url}; check the path"
            ) from None
        documents = object_from(data, f"{self.url}/{DOCUMENT}").get("metadata", {})
        names = sorted(match[1] for key in documents if (match := _PATTERN.fullmatch(key)))
        self.attributes: dict[str, Any] = documents.get(".zattrs", {})
        self.header: dict[str, Any] = documents.get("metadata/.zattrs", {})
        if not names or "dimension" not in self.attributes or "metadata/live_mask/.zarray" not in documents:
            raise InputRefused(f"{self.url} was not written by multidimio 0.8; name a volume that was")
        # The access pattern that SEG-Y was read into is lossless or the most exact; digits name its chunked axes.
        master = min(
            names, key=lambda name: (_tolerance(documents[f"data/{name}/.zarray"]), -len(name), name)
        )
        self._places = {SAMPLES: f"data/{master}", LIVE: "metadata/live_mask"}
        self._places[HEADERS] = f"metadata/{master}_trace_headers"
        self._places |= {name: f"data/{name}" for name in names if name != master}
        self.arrays = {name: documents[f"{place}/.zarray"] for name, place in self._places.items()}
        self.dims = [str(entry["name"]) for entry in self.attributes["dimension"]]
        self.labels = [np.asarray(entry["coords"]) for entry in self.attributes["dimension"]]
        fields = [name for name, _ in self.arrays[HEADERS]["dtype"]]
        if tuple(fields) != (*(DTYPES["trace_header"].names or ()), "unassigned"):
            raise InputRefused(
                f"{self.url} was written by multidimio {self.version}, but only headers of 0.8 are known; convert it "
                "with multidimio 0.8, or publish the SEG-Y"
            )
        if [len(labels) for labels in self.labels] != self.arrays[SAMPLES]["shape"]:
            raise InputRefused(f"{self.url} is damaged: its dimensions are not those of its samples")
        for name, labels in zip(self.dims, self.labels, strict=True):
            self._values |= _in_memory(name, labels)

    @property
    def version(self) -> str:
        """Return the version of multidimio that wrote it."""
        return str(self.attributes.get("api_version", ""))

    @property
    def tolerance(self) -> float:
        """Return the largest error of a sample that its codec allows; 0 if it is lossless."""
        return _tolerance(self.arrays[SAMPLES])

    def path(self, key: str) -> str:
        """Return the path of `key` on its file system, with the name that multidimio gave the array."""
        name, slash, rest = key.partition("/")
        return super().path(f"{self._places.get(name, name)}{slash}{rest}")

    def get(self, key: str) -> bytes:
        """Return the whole object; coordinates are made of the attributes."""
        return self._values[key] if key in self._values else super().get(key)

    def as_volume(self) -> Volume:
        """Return it as a volume, with the root and members that readers need."""
        from tasks.volume.arrays.foreign import refuse_absurd  # it imports zarr, which takes half a second

        for name, document in self.arrays.items():
            refuse_absurd(document["shape"], document["chunks"], f"{self.url}/{self._places[name]}")
        members = {name: _member(self.arrays[name], self.dims) for name in self.arrays}
        stats = {key: self.attributes[key] for key in STATISTICS if key in self.attributes}
        members[SAMPLES]["attributes"] |= stats | {"live_traces": self.attributes["trace_count"]}
        if self.tolerance:
            members[SAMPLES]["attributes"]["tolerance"] = self.tolerance
        for name in set(self.arrays) - {SAMPLES, LIVE, HEADERS}:
            members[name]["attributes"] |= {"copy_of": SAMPLES}
        for name in self.dims:
            members[name] = _member(json.loads(self._values[f"{name}/.zarray"]), [name])
        about = {"textHeader": "\n".join(self.header.get("text_header", []))}
        members[FILE_HEADER] = {
            "node_type": "array",
            "shape": [],
            "attributes": about | {"binaryHeader": self.header.get("binary_header", {})},
        }
        ones = [1.0] * len(self.dims)
        level = {"path": "", "scale": ones, "translation": [0.0] * len(self.dims)}
        attributes = {
            "apiVersion": self.version,
            "createdOn": self.attributes.get("created", ""),
            "attributes": {"defaultVariableName": SAMPLES},
            "seismill": {
                "format": 1,
                "writer": "",
                "created_on": str(self.attributes.get("created", "")),
                "levels": [level],
                "stages": {},
                "sources": [],
                "mdio_v0": self.version,
            },
        }
        return Volume(self, Root.new(attributes).with_members(members))


def _tolerance(document: dict[str, Any]) -> float:
    compressor = document.get("compressor") or {}
    return float(compressor.get("tolerance", 0.0)) if compressor.get("id") == "zfpy" else 0.0


def _member(document: dict[str, Any], dims: list[str]) -> dict[str, Any]:
    """Return the root's metadata of a Zarr v2 array that zarr-python reads."""
    named = isinstance(document["dtype"], str)
    return {
        "node_type": "array",
        "shape": document["shape"],
        "data_type": np.dtype(document["dtype"]).newbyteorder("=").name if named else {"name": "structured"},
        "chunk_grid": {"configuration": {"chunk_shape": document["chunks"]}},
        "codecs": [{"name": AS_FOUND}],
        "shards": [],
        "dimension_names": dims[: len(document["shape"])],
        "fill_value": 0,
        "attributes": {},
    }


def _in_memory(name: str, values: np.ndarray) -> dict[str, bytes]:
    """Return the objects of an array of Zarr v2 in one chunk."""
    little = values.dtype.newbyteorder("<")
    document: dict[str, Any] = {"shape": [values.size], "chunks": [values.size], "dtype": little.str}
    document |= {"zarr_format": 2, "compressor": None, "filters": None, "fill_value": 0, "order": "C"}
    stored = values.astype(little).tobytes()
    return {f"{name}/.zarray": json.dumps(document).encode(), f"{name}/0": stored}
