"""An image made to try things on: any shape, chunks and type, as another tool would leave it."""

import numpy as np
import pytest
import zarr

from flows import cli
from tasks.make_image import make_image
from tasks.parameters import Form, Levels
from tasks.pyramid import pyramid
from tasks.volume.outcomes import DestinationRefused, InputRefused
from tests.support.volumes import differences, tree


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "uint16", "int64", "float16", "float32", "float64"]
)
def test_an_image_has_the_shape_chunks_and_type_asked_for_and_varies(tmp_path, dtype):
    make_image(str(tmp_path / "a.zarr"), form=Form(shape=[37, 21, 65], chunks=[8, 8, 16], dtype=dtype))
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["field/0"]
    assert (array.shape, array.chunks, array.dtype) == ((37, 21, 65), (8, 8, 16), np.dtype(dtype))
    values = array[...].astype(np.float64) / (np.iinfo(dtype).max if array.dtype.kind in "iu" else 1)
    assert 0 <= values.min() < 0.2
    assert 0.7 < values.max() <= 1


def test_the_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_image(str(tmp_path / name), form=Form(shape=[20, 30], chunks=[16, 16]), seed=seed)
    assert differences(tree(tmp_path / "a"), tree(tmp_path / "b")) == []
    assert differences(tree(tmp_path / "a"), tree(tmp_path / "c")) != []


def test_the_command_makes_what_levels_are_made_of_by_the_name_of_the_field(tmp_path, capsys):
    place = str(tmp_path / "try.zarr")
    assert (
        cli.run(["make-image", place, "--shape", "65,65,65", "--chunks", "32,32,32", "--dtype", "uint8"]) == 0
    )
    assert "field/0" in capsys.readouterr().out
    pyramid(place, Levels(levels=2, until=1), array="field/0")
    field = zarr.open_group(place, mode="r")["field"]
    assert [field[name].shape for name in "012"] == [(65,) * 3, (33,) * 3, (17,) * 3]


def test_what_cannot_be_made_is_refused_before_anything_is_written(tmp_path):
    place = tmp_path / "a.zarr"
    with pytest.raises(InputRefused, match="give the same number of positive integers"):
        make_image(str(place), form=Form(shape=[10, 10], chunks=[4]))
    with pytest.raises(InputRefused, match="give chunks of at most 268 MB"):
        make_image(str(place), form=Form(shape=[4096] * 3, chunks=[1024] * 3))
    assert not place.exists()
    make_image(str(place), form=Form(shape=[10], chunks=[4]))
    with pytest.raises(DestinationRefused, match="name another array"):
        make_image(str(place), form=Form(shape=[10], chunks=[4]))
    make_image(str(place), array="field/other", form=Form(shape=[10], chunks=[4]))
