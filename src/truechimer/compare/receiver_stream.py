"""A receiver's bytes as they come, in pieces of any length, into its epochs; UBX, or NMEA where no UBX is among them.

It opens nothing and judges nothing. What a piece leaves unfinished waits for the next one; what cannot become a message
any more is a finding, and costs nothing that follows it.
"""

from truechimer.compare.receiver_epoch import EpochGathering, ReceiverEpoch
from truechimer.compare.receiver_nmea import NmeaGathering
from truechimer.formats import nmea, ubx
from truechimer.formats.finding import Finding, Severity
from truechimer.instants import LeapTable

LONGEST_UNFINISHED = ubx.LARGEST_PAYLOAD + 8
"""Octets: an unfinished message that is longer never was one."""


class ReceiverStream:
    """One stream. `take` never raises, whatever the bytes."""

    def __init__(self, leaps: LeapTable) -> None:
        self._gathering = EpochGathering(leaps)
        self._sentences = NmeaGathering(leaps)
        self._has_frames = False
        self._unfinished = b""

    @property
    def undated(self) -> int:
        """How many groups of messages said no date."""
        return self._gathering.undated if self._has_frames else self._sentences.undated

    def use_leaps(self, leaps: LeapTable) -> None:
        """Read UTC dates by another table from now on."""
        self._gathering.leaps = self._sentences.leaps = leaps

    def take(self, data: bytes) -> tuple[list[ReceiverEpoch], list[Finding]]:
        """Take bytes in; return the epochs that they complete, and what of them is damaged."""
        data = self._unfinished + data
        pieces, findings = ubx.read(data)
        end = len(data)
        if pieces and isinstance(pieces[-1], ubx.Stretch) and len(pieces[-1].data) <= LONGEST_UNFINISHED:
            end = pieces[-1].at
            pieces = pieces[:-1]
        self._unfinished = data[end:]
        told = [finding for finding in findings if finding.column is None or finding.column <= end]
        epochs = self._gathering.take(pieces)
        if epochs:
            self._has_frames = True
        if self._has_frames:
            return epochs, told
        for piece in pieces:
            if isinstance(piece, ubx.Sentence):
                line, wrong = nmea.line(piece.data)
                if wrong is not None:
                    told.append(Finding(wrong[0], wrong[1], None, piece.at + 1, Severity.WARNING))
                epoch = self._sentences.take(line)
                if epoch is not None:
                    epochs.append(epoch)
        return epochs, told
