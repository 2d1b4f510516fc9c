"""The root document of a volume, or of copies and levels in another tool's group.

Only this module and `root_schema` depend on the form of the document. A `Root` is parsed once and is immutable: a
change returns another one. It keeps the document as it was read, including fields of later versions, so that
unchanged parts are written with the same bytes.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from tasks.volume.arrays.codecs import document_bytes
from tasks.volume.arrays.documents import first_problem, object_from, refuse_path
from tasks.volume.arrays.groups import ForeignGroup, OwnGroup
from tasks.volume.arrays.level_names import is_elsewhere
from tasks.volume.arrays.root_schema import LevelEntry, RootDocument, StageEntry, VolumeState
from tasks.volume.outcomes import IntegrityFailure

LABELS = "labels"  # group of the label volumes in the group of an image


@dataclass(frozen=True)
class Root:
    """The root document of a volume or annex.

    Attributes:
        document: The JSON object, which must not be changed.
    """

    document: Mapping[str, Any]

    @classmethod
    def new(cls, attributes: Mapping[str, Any]) -> "Root":
        """Return a root with no members yet."""
        return cls(
            {
                "attributes": dict(attributes),
                "zarr_format": 3,
                "consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": {}},
                "node_type": "group",
            }
        )

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Return the attributes of the group."""
        return self.document["attributes"]

    @property
    def members(self) -> Mapping[str, dict[str, Any]]:
        """Return the zarr.json of every array and group below, by path."""
        return self.document["consolidated_metadata"]["metadata"]

    @property
    def is_ours(self) -> bool:
        """Return whether it is a volume or an annex, and not another group."""
        return "seismill" in self.attributes

    @cached_property
    def state(self) -> VolumeState:
        """Return Seismill's state of the volume, the attribute `seismill`."""
        return VolumeState.model_validate(self.attributes["seismill"])

    @property
    def master(self) -> str:
        """Return the path of the lossless array; of an annex it is empty."""
        return str(self.attributes["attributes"]["defaultVariableName"])

    @property
    def is_annex(self) -> bool:
        """Return whether this root describes copies and levels in another tool's group."""
        return "annex" in self.attributes.get("seismill", {})

    @cached_property
    def group(self) -> OwnGroup:
        """Return the kind of its group: a volume, or another tool's group."""
        return ForeignGroup(self.state.annex) if self.is_annex else OwnGroup()

    @property
    def key(self) -> str:
        """Return the key that it is stored at."""
        return self.group.key

    @property
    def label_names(self) -> list[str]:
        """Return the names of the label volumes that an image lists."""
        return list(self.members.get(LABELS, {}).get("attributes", {}).get("ome", {}).get("labels", []))

    @property
    def plans(self) -> set[str]:
        """Return the digests of the plans of all stages that are done."""
        return {stage.plan for stage in self.state.stages.values()}

    @property
    def content(self) -> bytes:
        """Return the stored text."""
        return document_bytes(self.document)

    def with_members(self, added: Mapping[str, Any]) -> "Root":
        """Return a root with more members; they are sorted, so that the same content is the same text."""
        return self._of_members({**self.members, **added})

    def without(self, paths: Collection[str]) -> "Root":
        """Return a root that lacks some arrays and groups, and what lies below those."""
        return self._of_members(
            {
                path: member
                for path, member in self.members.items()
                if not any(path == gone or path.startswith(f"{gone}/") for gone in paths)
            }
        )

    def _of_members(self, members: Mapping[str, Any]) -> "Root":
        metadata = {path: members[path] for path in sorted(members)}
        return Root(
            {
                **self.document,
                "consolidated_metadata": {**self.document["consolidated_metadata"], "metadata": metadata},
            }
        )

    def with_attributes(self, **changed: Any) -> "Root":
        """Return a root with other attributes of the group."""
        return Root({**self.document, "attributes": {**self.attributes, **changed}})

    def with_state(self, **changed: Any) -> "Root":
        """Return a root with changed fields of the state, given as JSON; None removes a field."""
        fields = {**self.attributes["seismill"], **changed}
        return self.with_attributes(
            seismill={
                name: value for name, value in fields.items() if value is not None or name not in changed
            }
        )

    def with_levels(self, levels: Iterable[LevelEntry]) -> "Root":
        """Return a root with other levels."""
        return self.with_state(levels=[level.to_json() for level in levels])

    def with_stages(self, changed: Mapping[str, StageEntry | None]) -> "Root":
        """Return a root with changed stages; None removes a stage."""
        stages = dict(self.attributes["seismill"]["stages"])
        for name, stage in changed.items():
            if stage is None:
                stages.pop(name, None)
            else:
                stages[name] = stage.to_json()
        return self.with_state(stages=stages)


def root_from(data: bytes, where: str) -> Root:
    """Return the root of a volume or annex in the current form.

    Raises:
        IntegrityFailure: The document does not have that form.
    """
    root = Root(object_from(data, f"the root {where}"))

    def damaged(problem: str) -> IntegrityFailure:
        return IntegrityFailure(
            f"the root {where} is damaged ({problem}); run seismill verify --repair from_master"
        )

    try:
        model = RootDocument.model_validate(root.document)
    except (ValidationError, RecursionError) as error:
        raise damaged(first_problem(error)) from None
    if not root.is_ours:
        levels = []
    elif model.attributes.seismill is None:
        raise damaged("attributes.seismill: it holds nothing")
    else:
        state = root.__dict__["state"] = model.attributes.seismill
        levels = [level.path for level in state.levels]
        levels += [] if is_elsewhere(state.annex.array) else [state.annex.array]
    master, members = model.attributes.attributes.defaultVariableName, model.consolidated_metadata.metadata
    if root.is_ours and master not in members:
        raise damaged("it does not list its own array")
    for path in (*members, *levels, master):
        refuse_path(path, f"the root {where}")
    return root
