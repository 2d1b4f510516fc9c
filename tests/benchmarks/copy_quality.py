"""Measure copies against what was asked of them, on real files, with nothing of the product but its command line.

``python -m tests.benchmarks.copy_quality [FILE …]`` publishes each file below SEISMILL_SHARED, a velocity cube and
Ketton, and prints a row for each copy. Originals are read with segyio and tifffile, copies with
zarr. A copy is right if its figure is at least the target, and a figure in dB below the target plus 8. It ends with 1
if one is not.
"""

import io
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import segyio
import tifffile
import zarr

STEP_DB = 8.0
DATA = Path(os.environ.get("SEISMILL_SHARED", "")) / "data"
# What is asked, by the name of the copy that is made of it; the usual copies come beside these.
QUALITIES = {"snr40": "snr=40", "snr60": "snr=60", "psnr60": "psnr=60", "ratio10": "ratio=10"}
ROUNDED = {"rounded40": "snr=40", "rounded60": "snr=60"}
CHUNKS = {2: "64,4096", 3: "4,512,512"}
COLUMNS = {
    "file": 18, "asked": 10, "copy": 16, "SNR dB": 8, "PSNR dB": 9, "ratio": 8, "max error": 11, "tolerance": 11,
    "hole": 9,
}  # fmt: skip


def seismill(*words: str) -> None:
    """Run a command; fail with what it says if it fails."""
    program = "from flows.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {done.stderr.strip()}")


def velocity_cube(path: Path) -> None:
    """Write a SEG-Y of interval velocities in m/s: layers that dip, faster with depth, IEEE floats."""
    inline, crossline, time = np.meshgrid(np.arange(48), np.arange(56), np.arange(200), indexing="ij")
    cube = 1500 + 12.0 * time + 150 * np.sin((time + 0.4 * inline - 0.3 * crossline) / 9)
    samples = cube.reshape(-1, 200).astype(">f4")
    header = bytearray(3600)
    header[:3200] = ("C 1 VELOCITY".ljust(80) * 40).encode("cp037")
    struct.pack_into(">H", header, 3216, 4000)
    struct.pack_into(">H", header, 3220, 200)
    struct.pack_into(">hhh", header, 3224, 5, 0, 0)
    struct.pack_into(">Hh", header, 3500, 0x0100, 1)
    with path.open("wb") as file:
        file.write(header)
        for number, trace in enumerate(samples):
            place = bytearray(240)
            struct.pack_into(">i", place, 0, number + 1)
            struct.pack_into(">HH", place, 114, 200, 4000)
            struct.pack_into(">ii", place, 188, 1 + number // 56, 1 + number % 56)
            file.write(bytes(place) + trace.tobytes())


def of_segy(path: Path, volume: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples of a SEG-Y as segyio reads them, in the cells of the volume, and which cells have some."""
    numbers = zarr.open_array(volume / "trace_number", mode="r")[...]
    with segyio.open(path, ignore_geometry=True, strict=False) as file:
        traces = file.trace.raw[:]
    return traces[np.maximum(numbers, 0)], numbers >= 0


def of_image(path: Path, volume: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels of a TIFF as tifffile reads them, all of which are there."""
    voxels = tifffile.imread(path)
    return voxels, np.ones(voxels.shape[:-1], bool)


def figures(original: np.ndarray, live: np.ndarray, folder: Path) -> dict[str, float]:
    """Return SNR, PSNR, ratio and largest error of a stored copy, over finite samples of live traces."""
    copy = zarr.open_array(folder, mode="r")
    values, copied = original[live].astype(np.float64), copy[...][live].astype(np.float64)
    finite = np.isfinite(values)
    errors = copied[finite] - values[finite]
    noise = float(np.sqrt(np.mean(errors**2)))
    stored = sum(path.stat().st_size for path in (folder / "c").rglob("*") if path.is_file())
    extent = float(np.ptp(values[finite]))
    return {
        "snr": 20 * np.log10(values[finite].std() / noise) if noise else np.inf,
        "psnr": 20 * np.log10(extent / noise) if noise else np.inf,
        "ratio": values.size * original.dtype.itemsize / stored,
        "largest": float(np.abs(errors).max()),
        "tolerance": float(copy.attrs["tolerance"]),
        "hole": float(np.abs(np.nan_to_num(copy[...][~live])).max(initial=0.0)),
    }


def cases(folder: Path) -> Iterator[tuple[str, Path, Callable[[Path, Path], tuple[np.ndarray, np.ndarray]]]]:
    """Yield a name, a file and its reader."""
    for name in ("F3_very_small", "penobscot_xl1155", "f3-withdead", "lineE"):
        yield name, next(DATA.rglob(f"{name}.sgy")), of_segy
    velocity_cube(folder / "velocity.sgy")
    yield "velocity", folder / "velocity.sgy", of_segy
    with zipfile.ZipFile(next(DATA.rglob("ketton.zip"))) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith((".tif", ".tiff")))
        tifffile.imwrite(
            folder / "ketton.tif", tifffile.imread(io.BytesIO(archive.read(name))), photometric="minisblack"
        )
    yield "ketton", folder / "ketton.tif", of_image


def judged(quality: str, measured: dict[str, float]) -> str:
    """Return what is wrong with a copy, or nothing."""
    kind, _, least = quality.partition("=")
    if measured["largest"] > measured["tolerance"]:
        return "beyond its tolerance"
    if measured["hole"] > measured["tolerance"]:
        return "more than its tolerance where no trace is"
    if not least:
        return ""
    if measured[kind] < float(least):
        return "below its target"
    return "far above its target" if kind != "ratio" and measured[kind] >= float(least) + STEP_DB else ""


def main(names: list[str]) -> int:
    """Print a row for each copy; return 1 if one is wrong."""
    wrong = 0
    print(
        "".join(
            title.ljust(width) if width in (10, 16, 18) else title.rjust(width)
            for title, width in COLUMNS.items()
        )
    )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, source, read in cases(folder):
            if names and name not in names:
                continue
            master = folder / f"{name}.zarr"
            seismill("ingest-images" if read is of_image else "ingest-segy", str(source), str(master))
            original, live = read(source, master)
            seismill("rechunk", str(master))
            # Images of whole numbers have lossless copies alone.
            asked = QUALITIES | ROUNDED if original.dtype.kind == "f" else {"lossless": "lossless"}
            seismill(
                "rechunk",
                str(master),
                *(word for copy in asked for word in ("--copy", f"{copy}={CHUNKS[original.ndim]}")),
                *("--quality", ",".join(f"{copy}={quality}" for copy, quality in asked.items())),
                *(
                    "--lossy-codec",
                    ",".join(["zfp", *(f"{copy}=rounded" for copy in asked if copy in ROUNDED)]),
                ),
            )
            for copy in sorted((*master.glob("fast_*"), *(master / name for name in asked))):
                measured = figures(original, live, copy)
                quality = asked.get(copy.name, "snr=40" if measured["largest"] else "lossless")
                verdict = judged(quality, measured)
                wrong += bool(verdict)
                print(
                    f"{name:18}{quality:10}{copy.name:16}{measured['snr']:8.2f}{measured['psnr']:9.2f}"
                    f"{measured['ratio']:8.2f}{measured['largest']:11.4g}{measured['tolerance']:11.4g}"
                    f"{measured['hole']:9.3g}  {verdict}",
                    flush=True,
                )
    print("all right" if not wrong else f"{wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    if not DATA.is_dir():
        sys.exit("SEISMILL_SHARED does not name the folder with data")
    sys.exit(main(sys.argv[1:]))
