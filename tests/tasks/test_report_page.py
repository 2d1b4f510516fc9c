"""The page of a report has the figures that NumPy finds, escapes all it shows, and is made once.

Covers report/page.py, report/sections.py, report/drawing.py, report/kept.py, report/header_table.py,
report/survey_map.py, report/map_picture.py and report/look.py.
"""

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from PIL import Image as Pillow

from tasks.ingest_images import ingest_images
from tasks.ingest_segy import ingest_segy
from tasks.parameters import Copies, Copy, Image, Levels, Master, Run
from tasks.prove import prove
from tasks.pyramid import pyramid
from tasks.rechunk import rechunk
from tasks.report import report
from tasks.verify import verify
from tasks.volume.arrays.reader import open_volume
from tasks.volume.report.look import look_of
from tasks.volume.report.map_picture import covered
from tasks.volume.report.page import escaped
from tasks.volume.report.slices import mask_of, sides_of
from tasks.volume.report.survey_map import survey_map
from tasks.volume.store.objects import Store
from tests import ROOT
from tests.support.html_page import Parsed
from tests.support.segy_maker import segy_bytes

SHAPE, N = (8, 9), 64
HOSTILE = '<script>document.title="owned"</script><img src="http://evil.example/x">\'"&'


def cube() -> np.ndarray:
    """Samples of 8 x 9 traces, most of them at 31.25 Hz for 4 ms."""
    noise = np.random.default_rng(5).normal(0, 0.2, (*SHAPE, N))
    return (1000 * (np.sin(2 * np.pi * 31.25 * 0.004 * np.arange(N)) + noise)).astype(np.float32)


def live_cells() -> np.ndarray:
    live = np.ones(SHAPE, bool)
    live[0, :3] = live[7, 8] = False
    return live


def write_survey(path: Path) -> None:
    text = (HOSTILE.encode() + b"C 1 ").ljust(3200).decode("latin-1").encode("cp037")
    samples = cube()[live_cells()].astype(">f4").view(np.uint8).reshape(-1, 4 * N)
    traces = {(115, "u2"): 65, (37, "i4"): -7}
    path.write_bytes(
        segy_bytes(
            shape=SHAPE, n_samples=N, code=5, live=live_cells(), samples=samples, text=text, traces=traces
        )
    )


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_survey(folder / "a.sgy")
    path = folder / "<b>a'.zarr"
    ingest_segy(str(folder / "a.sgy"), str(path), master=Master(chunks=[4, 4, 16]))
    more = [Copy(name="flat", chunks=[8, 12, 4])]
    rechunk(str(path), Copies(presets=["fast_inline"], more=more, tolerance=8.0))
    rechunk(str(path), Copies(presets=[], more=[Copy(name="same", chunks=[8, 9, 8])], quality="lossless"))
    pyramid(str(path), Levels(levels=1, until=1))
    prove(str(path))
    return path


@pytest.fixture(scope="module")
def page(volume: Path) -> Parsed:
    return Parsed.of(Path(report(str(volume))["page"]).read_bytes())


def ssim(master: np.ndarray, copy: np.ndarray, shown: np.ndarray, width: float) -> list[float]:
    """SSIM of every whole window, one by one."""
    found = []
    for top in range(master.shape[0] - 6):
        for left in range(master.shape[1] - 6):
            window = (slice(top, top + 7), slice(left, left + 7))
            if not shown[window].all():
                continue
            a, b = master[window].astype(float).ravel(), copy[window].astype(float).ravel()
            c1, c2 = (0.01 * width) ** 2, (0.03 * width) ** 2
            (va, both), (_, vb) = np.cov(a, b)
            value = (2 * a.mean() * b.mean() + c1) * (2 * both + c2)
            found.append(value / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (va + vb + c2)))
    return found


def test_the_statistics_are_those_of_the_samples(page):
    values = cube()[live_cells()].astype(np.float64)
    shown = page.named("statistics")
    assert shown["finite samples"] == values.size
    assert (shown["least"], shown["greatest"]) == (values.min(), values.max())
    assert shown["mean"] == pytest.approx(values.mean(), rel=1e-9)
    assert shown["root mean square"] == pytest.approx(np.sqrt((values**2).mean()), rel=1e-9)
    assert shown["standard deviation"] == pytest.approx(values.std(), rel=1e-9)
    assert (shown["NaN or Inf"], shown["zeros"], shown["live traces"]) == (0, 0, live_cells().sum())


def test_what_a_copy_loses_is_what_numpy_finds(volume, page):
    master, live = cube(), live_cells()
    width = 2 * np.percentile(np.abs(master[live].astype(float)), 99)
    rows = page.records("copies")
    assert set(rows) == {"fast_inline", "flat", "same"}
    middles = [(0, 4), (1, 4), (2, 32)]
    for name, row in rows.items():
        copy = zarr.open_group(volume, mode="r")[name][...]
        errors = (copy.astype(np.float64) - master)[live]
        stored = sum(file.stat().st_size for file in (volume / name / "c").rglob("*") if file.is_file())
        assert row["ratio"] == pytest.approx(4 * errors.size / stored, rel=1e-9)
        cells = np.broadcast_to(live[..., None], master.shape)
        alike = [
            value
            for axis, at in middles
            for value in ssim(master.take(at, axis).T, copy.take(at, axis).T, cells.take(at, axis).T, width)
        ]
        assert row["SSIM"] == pytest.approx(np.mean(alike), abs=1e-9)
        if name == "same":
            assert (row["bound"], row["SSIM"]) == ("lossless", 1)
            assert not errors.any()
            continue
        deviation, rmse = master[live].astype(float).std(), np.sqrt((errors**2).mean())
        about = json.loads((volume / name / "zarr.json").read_text())["attributes"]
        bound = about["tolerance"]
        assert row["target"] == about.get("target", "")
        span = float(master[live].max()) - float(master[live].min())
        assert row["bound"] == bound
        assert row["largest error"] == pytest.approx(np.abs(errors).max(), rel=1e-6)
        assert row["error / bound"] == pytest.approx(np.abs(errors).max() / bound, rel=1e-6)
        assert 0 < row["error / bound"] <= 1
        assert row["RMS error"] == pytest.approx(rmse, rel=1e-6)
        assert row["RMS error / deviation"] == pytest.approx(rmse / deviation, rel=1e-6)
        assert row["SNR (dB)"] == pytest.approx(20 * np.log10(deviation / rmse), abs=1e-5)
        assert row["PSNR (dB)"] == pytest.approx(20 * np.log10(span / rmse), abs=1e-5)


def test_the_header_table_is_what_the_file_holds(page):
    lines, crosslines = np.nonzero(live_cells())
    count = len(lines)
    rows = page.records("headers")

    def of(name: str) -> tuple:
        row = rows[name]
        return row["byte"], row["least"], row["greatest"], row["constant"]

    assert of("trace_seq_num_line") == (1, 1, count, "")
    assert of("source_to_receiver_distance") == (37, -7, -7, "constant")
    assert of("inline") == (189, 100, 100 + 2 * lines.max(), "")
    assert of("cdp_x") == (181, 4_000_000, 4_000_000 + 250 * lines.max(), "")
    assert of("cdp_y") == (185, 61_000_000, 61_000_000 + 125 * crosslines.max(), "")
    assert of("samples_per_trace") == (115, 65, 65, "constant")
    assert rows["samples_per_trace"]["notable"] == f"read with {N} samples"
    assert rows["crossline"]["notable"] == "axis crossline"
    assert "trace_num_ensemble" not in rows
    assert f"From all {count} traces. Always 0: " in page.text
    assert "trace_num_ensemble (25)" in page.text


def test_the_spectrum_is_that_of_the_middle_inline(volume, page):
    rows = page.records("spectrum")
    assert list(rows) == ["amplitude", "fast_inline", "flat", "same"]
    for name, row in rows.items():
        lines = zarr.open_group(volume, mode="r")[name][4].astype(np.float64)
        level = np.abs(np.fft.rfft(lines - lines.mean(axis=1, keepdims=True), axis=1)).mean(axis=0)[1:]
        frequencies = np.fft.rfftfreq(N, 0.004)[1:]
        inside = frequencies[20 * np.log10(level / level.max()) >= -20]
        assert row["peak (Hz)"] == frequencies[level.argmax()] == 31.25
        assert (row["from"], row["to (within 20 dB)"]) == (inside[0], inside[-1])
        assert row["traces"] == 9


def test_place_sources_versions_and_proof_are_on_the_page(volume, page):
    root = json.loads((volume / "zarr.json").read_text())["attributes"]["seismill"]
    shown = page.named("volume")
    assert shown["extent"] == "8 x 9 x 64 (inline, crossline, time)"
    assert shown["X"] == "400,000 to 400,175"
    assert shown["inline"] == "100 to 114, step 2, 8 values"
    assert shown["step of inline"].startswith("25, azimuth 90.00")
    source = page.named("sources")
    assert source["CRC32C"] == root["sources"][0]["crc32c"]
    assert source["bytes"] == (volume.parent / "a.sgy").stat().st_size
    done = page.records("done")
    assert set(done) == set(root["stages"])
    for name, row in done.items():
        plan = json.loads((volume / f".seismill/runs/{row['plan']}/plan.json").read_text())
        assert row["plan"] == root["stages"][name]["plan"]
        assert row["versions"] == ", ".join(f"{key} {value}" for key, value in plan["versions"].items())
    assert f"proven {root['proven_at']}: exporting the volume gives back its source" in page.text


def test_a_map_lies_where_the_traces_do(volume):
    found = open_volume(Store(str(volume)))
    shown = survey_map(found, mask_of(found), sides_of(found))
    lines, crosslines = np.nonzero(live_cells())
    np.testing.assert_allclose(np.sort(shown.x), np.sort(400_000 + 25.0 * lines))
    np.testing.assert_allclose(np.sort(shown.y), np.sort(6_100_000 + 12.5 * crosslines))
    assert shown.traces == len(lines)
    assert [name for name, _, _ in shown.lines] == ["inline 108", "crossline 19"]
    np.testing.assert_allclose(shown.lines[0][1], 400_100)
    assert {(label, x, y) for label, x, y in shown.corners} >= {("100/7", 400_000, 6_100_000)}


def test_coordinates_of_many_chunks_are_computed_from_the_corners(volume):
    found = open_volume(Store(str(volume)))
    shown = survey_map(found, mask_of(found), sides_of(found), whole_chunks=0)
    lines, crosslines = np.nonzero(live_cells())
    np.testing.assert_allclose(shown.x, 400_000 + 25.0 * lines, atol=1e-4)
    np.testing.assert_allclose(shown.y, 6_100_000 + 12.5 * crosslines, atol=1e-4)


def test_the_map_of_many_traces_is_one_area_with_its_holes():
    # A grid of 18.75 m by 25 m turned by 28 degrees, with a hole of 40 by 30 traces; about two traces a pixel.
    along, up = (n.ravel().astype(float) for n in np.meshgrid(np.arange(600), np.arange(450), indexing="ij"))
    kept = (abs(along - 300) > 20) | (abs(up - 200) > 15)
    turn = np.deg2rad(28)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([18.75, 25])
    x, y = rotation @ np.array([along, up])[:, kept]
    box = (x.min() - 900, x.max() + 900, y.min() - 900, y.max() + 900)
    shown = covered(x, y, box, (400, 500))
    columns, rows = np.meshgrid(
        np.linspace(*box[:2], 500, endpoint=False) + (box[1] - box[0]) / 1000,
        np.linspace(*box[2:], 400, endpoint=False) + (box[3] - box[2]) / 800,
    )
    places = np.linalg.solve(rotation, np.array([columns.ravel(), rows.ravel()])).reshape(2, 400, 500)
    depth = np.minimum(np.minimum(places[0], 599 - places[0]), np.minimum(places[1], 449 - places[1]))
    out_of_hole = np.maximum(abs(places[0] - 300) - 20, abs(places[1] - 200) - 15)
    assert shown[(depth > 5) & (out_of_hole > 5)].all()  # no pattern
    assert not shown[(depth < -5) | (out_of_hole < -5)].any()


def test_hostile_names_and_texts_are_shown_and_do_nothing(page):
    assert not {"script", "iframe", "object", "embed", "form", "base", "b"} & set(page.tags)
    assert page.texts["text-header"].startswith(HOSTILE)
    assert "<b>a'" in page.text
    assert [name for _, name, _ in page.attributes if name.startswith("on")] == []
    assert page.references() == []
    policy = next(value for _, name, value in page.attributes if name == "content" and "src" in value)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'")


def test_characters_that_hide_or_turn_a_line_are_replaced():
    assert escaped("a\x00\x1b\u202eb\ud800\u0645\tc\n") == "a\ufffd\ufffd\ufffdb\ufffd\u0645\tc\n"
    assert escaped("""<a href='x' on="y">&""") == "&lt;a href=&#x27;x&#x27; on=&quot;y&quot;&gt;&amp;"


def test_the_page_holds_the_pictures_that_lie_beside_it(volume, page):
    inside = [
        base64.b64decode(value.partition(",")[2])
        for tag, name, value in page.attributes
        if (tag, name) == ("img", "src")
    ]
    summary = report(str(volume))
    assert inside == [Path(place).read_bytes() for place in summary["pictures"]]
    for content in inside:
        with Pillow.open(io.BytesIO(content)) as picture:
            assert picture.format == "PNG"


@pytest.mark.browser
def test_a_browser_shows_the_page_and_nothing_that_is_not_in_it(volume, tmp_path):
    folder = Path(os.environ.get("SEISMILL_SCREENSHOTS") or tmp_path)
    summary = report(str(volume))
    script = str(ROOT / "tests/support/browser.js")
    command = ["node", script, "report", summary["page_link"], str(folder), "1280", "2560"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for width, shown in found["seen"].items():
        assert (shown["title"], shown["wide"], shown["hidden"]) == ("<b>a'", int(width), 0)
        assert [name for name, *_ in shown["pictures"]] == [
            f"<b>a': {Path(place).stem}" for place in summary["pictures"]
        ]
        assert all(wide > 300 and complete for _, wide, complete in shown["pictures"])
        assert shown["text"].startswith(HOSTILE)
        assert {"Volume", "Statistics", "Copies", "Trace headers", "What was done"} <= set(shown["sections"])
        assert shown["scripts"] == 0
        with Pillow.open(folder / f"report-{width}.png") as screenshot:
            assert screenshot.width == int(width)
            assert len(screenshot.convert("RGB").resize((400, 400)).getcolors(1 << 20)) > 100
    assert (found["forbidden"], found["stopped"], found["outside"]) == ("<b>a'", "csp", [])
    assert all("Content Security Policy" in sentence for sentence in found["said"])


def test_what_was_made_is_not_made_again(volume, page):
    before = {path: path.stat().st_mtime_ns for path in volume.rglob("*") if path.is_file()}
    code = (
        "import sys; from tasks.report import report; summary = report(sys.argv[1]); "
        "assert summary['notes'] == ['was done already'], summary['notes']; "
        "assert not {'matplotlib', 'PIL'} & set(sys.modules); print(len(summary['thumbnails']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(volume)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "5"), done.stderr
    assert {path: path.stat().st_mtime_ns for path in volume.rglob("*") if path.is_file()} == before


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip", "remove", "list"])
def test_a_damaged_report_is_found_and_made_again_as_it_was(volume, page, damage):
    folder = volume / ".seismill/report"
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    victim = folder / ("objects.jsonl" if damage == "list" else "map.png")
    if damage == "remove":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    with pytest.raises(Exception, match=f"{victim.name}.*seismill report"):
        verify(str(volume))
    report(str(volume))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    assert verify(str(volume))["findings"] == []


def small(folder: Path) -> Path:
    write_survey(folder / "a.sgy")
    ingest_segy(str(folder / "a.sgy"), str(folder / "a.zarr"))
    return folder / "a.zarr"


def test_a_volume_that_changed_has_a_new_report(tmp_path):
    path = small(tmp_path)
    first = Parsed.of(Path(report(str(path))["page"]).read_bytes())
    assert "not proven yet" in first.text
    prove(str(path))
    again = report(str(path))
    assert again["notes"] == []
    assert "not proven yet" not in Path(again["page"]).read_text()
    assert report(str(path))["notes"] == ["was done already"]


@pytest.mark.slow
@pytest.mark.parametrize("listed", [True, False])
def test_a_report_of_before_is_replaced_and_what_is_not_ours_stays(tmp_path, listed):
    path = small(tmp_path)
    folder = path / ".seismill/report"
    report(str(path))
    names = {file.name for file in folder.iterdir()}
    for name in names:
        (folder / name).unlink()
    old = {
        "report.md": b"# a\n\nSizes and checksums of these files: objects.jsonl\n",
        "time.png": b"x",
        "depth.png": b"y",
    }
    for name, content in old.items():
        (folder / name).write_bytes(content)
    (folder / "mine.txt").write_text("mine")
    if not listed:
        (folder / "report.md").write_bytes(b"# a\n")
        assert verify(str(path))["findings"] == []
    report(str(path))
    assert {file.name for file in folder.iterdir()} == names | {"mine.txt"}
    assert verify(str(path))["findings"] == []


def voxels(folder: Path, name: str, values: np.ndarray, **image: object) -> Parsed:
    np.save(folder / f"{name}.npy", values)
    path = str(folder / f"{name}.zarr")
    ingest_images(str(folder / f"{name}.npy"), path, Image(**image))  # type: ignore[arg-type]
    pyramid(path, Levels(levels=1, until=1))
    rechunk(path, Copies(presets=[], more=[Copy(name="flat", chunks=[1, 32, 32])], quality="lossless"))
    report(path)
    return Parsed.of((Path(path) / ".seismill/report/report.html").read_bytes())


def test_an_image_is_spoken_of_in_voxels_and_drawn_to_scale(tmp_path):
    values = np.random.default_rng(3).integers(50, 200, (10, 30, 40), np.uint8)
    page = voxels(tmp_path, "core", values, voxel_length=[4, 1, 2], voxel_unit="micrometer")
    shown = (tmp_path / "core.zarr/.seismill/report/report.html").read_text().lower()
    shown = re.sub(r"base64,[^\"]*", "", shown)
    assert not re.findall("amplitude|trace|template|seg-?y", shown)
    said = page.named("volume")
    assert said["voxel size"] == "4 x 1 x 2 micrometer (z, y, x)"
    assert said["size"] == "40 x 30 x 80 micrometer"
    assert page.named("statistics")["mean"] == pytest.approx(values.mean())
    assert page.records("copies")["flat"]["SSIM"] == 1
    axes = page.records("spectrum")
    level = np.abs(np.fft.rfft(values[5] - values[5].mean(axis=1, keepdims=True), axis=1)).mean(axis=0)[1:]
    assert axes["along x"]["peak (cycles per micrometer)"] == np.fft.rfftfreq(40, 2.0)[1:][level.argmax()]
    assert list(axes) == ["along x", "along y", "along z"]
    look = look_of(open_volume(Store(str(tmp_path / "core.zarr"))))
    assert (look.voxels, look.voxel, look.labels) == (True, (4, 1, 2), {})


def test_labels_have_their_colours(tmp_path):
    values = np.random.default_rng(4).integers(0, 4, (9, 10, 11), np.uint8)
    page = voxels(tmp_path, "grains", values, field_name="grains", labels=True)
    attributes = json.loads((tmp_path / "grains.zarr/zarr.json").read_text())["attributes"]["ome"]
    stored = {item["label-value"]: tuple(item["rgba"][:3]) for item in attributes["image-label"]["colors"]}
    look = look_of(open_volume(Store(str(tmp_path / "grains.zarr"))))
    assert dict(look.labels) | stored == dict(look.labels)
    assert [row[0] for row in page.tables["labels"]] == ["0", "1", "2", "3"]
    with Pillow.open(tmp_path / "grains.zarr/.seismill/report/z.png") as picture:
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert set(look.labels.values()) <= colours
    assert "spectrum" not in page.tables


def test_a_dry_run_says_where_the_page_will_lie_and_reads_nothing_of_it(tmp_path):
    path = small(tmp_path)
    summary = report(str(path), Run(dry_run=True))
    assert summary["page"] == str(path / ".seismill/report/report.html")
    assert not (path / ".seismill/report").exists()
