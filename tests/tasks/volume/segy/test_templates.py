"""The table of MDIO's kinds of surveys: equal to multidimio's own, and what becomes of it with words of one's own.

Covers segy/placement.py.
"""

import json
import os
import subprocess
from typing import get_args

import pytest

from tasks.parameters import Index, Overrides, Template
from tasks.volume.arrays.spec import CHUNK_BYTES
from tasks.volume.outcomes import InputRefused
from tasks.volume.segy.named_fields import asked
from tasks.volume.segy.placement import Placement, place
from tasks.volume.segy.templates import CUSTOM, QUANTITIES, TEMPLATES, template_of

THEIRS = """
import json
from mdio.builder.template_registry import get_template, list_templates
found = {}
for name in list_templates():
    one = get_template(name)
    built = one.build_dataset(name=name, sizes=tuple(range(3, 3 + len(one.dimension_names))))
    coordinates = {v.name: [getattr(d, "name", d) for d in v.dimensions] for v in built.variables}
    found[name] = {
        "dims": one.dimension_names,
        "calculated": one.calculated_dimension_names,
        "attributes": one._load_dataset_attributes(),
        "coordinates": {name: coordinates[name] for name in one.coordinate_names},
    }
print(json.dumps(found))
"""


@pytest.mark.peer
def test_the_table_is_multidimio_s():
    python = os.environ.get("SEISMILL_MDIO_PYTHON") or pytest.skip(
        "SEISMILL_MDIO_PYTHON names no interpreter"
    )
    run = subprocess.run([python, "-c", THEIRS], capture_output=True, text=True, timeout=300, check=True)
    theirs = json.loads(run.stdout.splitlines()[-1])
    ours = {
        name: {
            "dims": [*template.dims, template.domains[0]],
            "calculated": list(template.calculated),
            "attributes": dict(template.attributes),
            "coordinates": {coordinate: list(dims) for coordinate, dims in template.coordinates},
        }
        for name, template in TEMPLATES.items()
    }
    assert ours == theirs


def test_the_parameter_names_every_template():
    assert list(get_args(Template)) == ["auto", *get_args(Template)[1:]]
    assert set(get_args(Template)) == {"auto", *TEMPLATES}


@pytest.mark.parametrize("name", TEMPLATES)
def test_coordinates_vary_along_dimensions_and_chunks_are_of_all(name):
    template = TEMPLATES[name]
    for coordinate, dims in template.coordinates:
        assert set(dims) <= set(template.dims)
        assert coordinate in QUANTITIES
    assert len(set(template.dims)) == len(template.dims)
    if template.chunks:
        size = 4
        for extent in template.chunks:
            assert extent & (extent - 1) == 0
            size *= extent
        assert size <= CHUNK_BYTES
        assert len(template.chunks) == len(template.dims) + 1


# What an index must say for each kind: names of words that the standard has no byte for, and an override.
LACKING = {
    "StreamerShotGathers3D": (["cable"], Overrides()),
    "StreamerFieldRecords3D": (["sail_line", "gun", "cable"], Overrides(AutoShotWrap=True)),
    "ShotReceiverLineGathers3D": (["shot_line", "receiver_line", "receiver"], Overrides()),
    "ReceiverGathers3D": (["receiver", "shot_line"], Overrides(CalculateShotIndex=True)),
    "ObnReceiverGathers3D": (["receiver", "shot_line", "gun"], Overrides(CalculateShotIndex=True)),
    "CdpAngleGathers2DTime": (["angle"], Overrides()),
    "CdpAngleGathers3DTime": (["angle"], Overrides()),
    "CocaGathers3DTime": (["azimuth"], Overrides()),
    "OffsetTiles3DTime": (["inline_offset_tile", "crossline_offset_tile"], Overrides()),
    "CdpOffsetGathers2DTime": ([], Overrides()),
    "CdpOffsetGathers3DTime": ([], Overrides()),
    "StreamerShotGathers2D": ([], Overrides()),
}


@pytest.mark.parametrize("name", LACKING)
def test_words_that_the_standard_has_no_place_for_must_be_named(name):
    lacking, overrides = LACKING[name]
    if lacking:
        with pytest.raises(InputRefused, match=f"{name} needs header bytes for {', '.join(lacking)}, which"):
            asked(Index(template=name, overrides=overrides))
    places = ",".join(str(201 + 2 * k) for k in range(len(lacking))) if lacking else "auto"
    index = Index(
        template=name, bytes=places, names=lacking, types=["int16"] * len(lacking), overrides=overrides
    )
    placement = place(index, asked(index), (181, 185))
    assert placement.dims == TEMPLATES[name].dims
    assert placement.template == name
    words = {word.name: word.byte for word in placement.words}
    assert [words[word] for word in lacking] == [201 + 2 * k for k in range(len(lacking))]
    assert words.get("shot_point", 17) == 17
    assert {word.name for word in placement.coordinates} == {c for c, _ in TEMPLATES[name].coordinates} - (
        {"gun"} if name == "StreamerShotGathers3D" else set()
    )
    assert Placement.from_json(json.loads(json.dumps(placement.to_json()))) == placement


def test_a_word_may_be_a_coordinate_of_the_template():
    index = Index(
        template="StreamerShotGathers3D", bytes="201,171", names=["cable", "gun"], types=["int16", "int16"]
    )
    placement = place(index, asked(index))
    assert [word.name for word in placement.words] == ["shot_point", "cable", "channel"]
    gun = next(word for word in placement.coordinates if word.name == "gun")
    assert (gun.byte, gun.type, gun.dims, gun.dtype) == (171, "int16", ("shot_point",), "int32")


def test_bytes_without_names_are_the_words_of_the_template_in_order():
    index = Index(template="StreamerShotGathers3D", bytes="9,137,13", types=["int32", "int16", "int32"])
    assert [(word.name, word.byte) for word in asked(index).values()] == [
        ("shot_point", 9),
        ("cable", 137),
        ("channel", 13),
    ]
    nodes = Index(template="ObnReceiverGathers3D", bytes="201,203,205,17")
    assert list(asked(nodes)) == ["component", "receiver", "shot_line", "gun", "shot_point"]
    assert asked(nodes)["component"].byte == 0, "1 in every trace where no word holds it"


@pytest.mark.parametrize(
    ("index", "sentence"),
    [
        (
            Index(template="StreamerShotGathers3D", bytes="9,13"),
            "are 2 words, and StreamerShotGathers3D has 3: shot_",
        ),
        (
            Index(template="StreamerShotGathers2D", bytes="9,13", names=["shot_point", "chanel"]),
            "StreamerShotGathers2D has no field chanel; it has channel, ",
        ),
        (
            Index(
                template="StreamerFieldRecords3D", bytes="201,203,205", names=["sail_line", "gun", "cable"]
            ),
            "",
        ),
    ],
)
def test_what_does_not_fit_a_template_is_refused(index, sentence):
    with pytest.raises(InputRefused, match=sentence or "give the override AutoShotWrap"):
        place(index, asked(index))


def test_freely_named_words_are_a_template_where_mdio_has_one():
    known = Index(bytes="21,37", names=["cdp", "offset"])
    assert place(known, asked(known)).template == "CdpOffsetGathers2DTime"
    deep = Index(bytes="21,37", names=["cdp", "offset"], domain="depth")
    assert place(deep, asked(deep)).template == "CdpOffsetGathers2DDepth"
    own = Index(bytes="9,17,13,37", names=["swath", "shot", "channel", "bin"], types=["int32"] * 4)
    placement = place(own, asked(own), (181, 185))
    assert (placement.template, placement.dims) == (CUSTOM, ("swath", "shot", "channel", "bin"))
    assert [coordinate.dims for coordinate in placement.coordinates] == [placement.dims] * 2
    assert template_of(("inline", "crossline"), "time").name == "PostStack3DTime"


def test_coordinates_are_left_out_where_the_index_lies_or_none_are_wanted():
    index = Index(template="StreamerShotGathers2D", bytes="73,13")
    names = [coordinate.name for coordinate in place(index, asked(index)).coordinates]
    assert names == ["source_coord_y", "group_coord_x", "group_coord_y"]
    none = Index(template="StreamerShotGathers2D", bytes="17,13", coordinate_bytes="none")
    assert place(none, asked(none)).coordinates == ()
