"""Archives of files, made in memory."""

import io
import zipfile


def zipped(*folders: str, **members: bytes) -> bytes:
    """Return a ZIP of folders and files; in names of files "__" stands for "/" and "_" for "."."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in folders:
            archive.mkdir(folder)
        for name, data in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), data)
    return out.getvalue()
