"""A source file being written again, byte for byte, with checksums of what was written."""

import numpy as np

from tasks.volume.export.output import Sink
from tasks.volume.export.segy_parts import FilePart
from tasks.volume.ingest.records import PART_BYTES, Segment, checksums, whole_checksums
from tasks.volume.outcomes import IntegrityFailure


class SourceFile:
    """The file, the bytes kept of an interrupted export, and checksums of all that was written."""

    def __init__(self, file: FilePart, sink: Sink) -> None:
        self._file, self._sink = file, sink
        self.kept, self._segments = 0, list[Segment]()

    @property
    def done(self) -> int:
        """Return bytes written or kept."""
        return sum(length for _, length, _ in self._segments)

    def keep(self) -> None:
        """Continue the file that an interrupted export left."""
        source = self._file.source
        if source.crc32c_part_bytes != PART_BYTES:
            return
        sums = [int(text, 16) for text in source.crc32c_parts]
        self.kept = self._sink.kept(sums, PART_BYTES)
        for number, crc in enumerate(sums[: -(-self.kept // PART_BYTES)]):
            start = number * PART_BYTES
            self._segments.append((start, min(PART_BYTES, self.kept - start), crc))

    def begin(self) -> None:
        """Write what comes before the first trace."""
        self.put(0, np.frombuffer(self._file.header, np.uint8))

    def put(self, offset: int, data: np.ndarray) -> None:
        """Write bytes at an offset of the file."""
        data, offset = data[max(0, self.kept - offset) :], max(self.kept, offset)
        self._segments.extend(checksums(data, offset))
        self._sink.write(offset, data)

    def commit(self, volume: str) -> str:
        """Write what comes after the last trace and give the file its name; return its CRC32C.

        Raises:
            IntegrityFailure: The CRC32C is not that of the source.
        """
        fmt, source = self._file.fmt, self._file.source
        if self._file.trailer:
            self.put(fmt.trace_offset(fmt.n_traces), np.frombuffer(self._file.trailer, np.uint8))
        crc = f"{whole_checksums(self._segments, self._file.size)[1]:08x}"
        if crc != source.crc32c:
            self._sink.discard()
            raise IntegrityFailure(
                f"the export of {volume} would have checksum {crc}, but the source had {source.crc32c}; nothing was "
                "written; run seismill verify to find what changed"
            )
        self._sink.commit()
        return crc
