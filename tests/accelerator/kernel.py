"""The program in this machine's own kernel, without any interface: frames in, verdicts and frames out."""

import mmap
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from tests.accelerator.frames import PORT, SITE, Site

from truechimer.daemon.ntp import bpf_calls
from truechimer.daemon.ntp.bpf_calls import BpfRejected, RunResult
from truechimer.serve.ntp import accelerator as shared
from truechimer.serve.ntp.accelerator import Count, RateLimit, Segment
from truechimer.serve.ntp.accelerator_frame import Place
from truechimer.serve.ntp.accelerator_program import (
    ACCESS_KEY_OCTETS,
    RATE_KEY_OCTETS,
    RATE_VALUE_OCTETS,
    Maps,
    Offered,
    program,
)

MOMENT = 0xEEADEF86_08DCD3B0
HEAD = bytes([0x04, 1, 0, 0xE9]) + bytes.fromhex("00000102 00000203 54525545 EEADEF80 12345678")
KISS = bytes([0xC4, 0, 0, 0]) + bytes.fromhex("00000000 00100000 52415445")
SLOPE = round(2**32 / 1e9 * 2**shared.SLOPE_BITS)


def mono_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def asleep_ns() -> int:
    """Return how long the machine has slept; whoever is interrupted between two readings finds less."""
    return max(time.clock_gettime_ns(time.CLOCK_BOOTTIME) - mono_ns() for _ in range(5))


def a_segment(*, begins_ns: int = 0, valid_ns: int = 10**9, stamp: int = MOMENT, head: bytes = HEAD) -> Segment:
    """Return a segment that begins `begins_ns` from now."""
    return Segment(mono_ns() + begins_ns, valid_ns, stamp, SLOPE, head, KISS, asleep_ns())


@dataclass
class Loaded:
    """A loaded program with its maps."""

    area: mmap.mmap
    maps: Maps
    descriptor: int
    number: int = 0

    def use(self, made: Segment, *, is_open: bool = True) -> None:
        """Publish a segment, as the thread does."""
        self.number += 1
        at = shared.slot_at(self.number)
        octets = shared.slot_octets(made, self.number)
        self.area[at : at + len(octets)] = octets
        struct.pack_into("=IIQ", self.area, 0, is_open, self.area[shared.LISTED], self.number)

    def run(self, frame: bytes) -> RunResult:
        return bpf_calls.run_once(self.descriptor, frame)

    def counts(self) -> dict[Count, int]:
        counted = shared.counts_of(self.area[:], self.maps.rows)
        return {count: number for count, number in counted.items() if number}


@contextmanager
def loaded(
    site: Site = SITE, *, rate: RateLimit | None = None, offers: Offered = Offered.VERSION_4
) -> Iterator[Loaded]:
    """Load the program for a site; a kernel that refuses skips the test, and says why."""
    rows = shared.rows_for(bpf_calls.possible_processors())
    octets = shared.area_octets(rows)
    try:
        area = bpf_calls.create_map(
            bpf_calls.MAP_ARRAY, key_octets=4, value_octets=octets, entries=1, flags=bpf_calls.MAPPABLE
        )
    except BpfRejected as error:
        pytest.skip(str(error))
    access = bpf_calls.create_map(
        bpf_calls.MAP_LPM_TRIE, key_octets=ACCESS_KEY_OCTETS, value_octets=4, entries=64, flags=1
    )
    rates = (
        None
        if rate is None
        else bpf_calls.create_map(
            bpf_calls.MAP_LRU_HASH, key_octets=RATE_KEY_OCTETS, value_octets=RATE_VALUE_OCTETS, entries=1024
        )
    )
    maps = Maps(area, rows, access, rates)
    place = Place(site.hardware, (site.v4, site.v6), (bytes([192, 0, 2, 0]), site.broadcast), site.is_loopback)
    descriptor = bpf_calls.load_program(program(place, port=PORT, maps=maps, rate=rate, offers=offers))
    mapped = mmap.mmap(area, octets)
    for row in range(rows):
        struct.pack_into("=Q", mapped, shared.own_bits_at(row), 2 * row)
    try:
        yield Loaded(mapped, maps, descriptor)
    finally:
        mapped.close()
        for one in (descriptor, area, access, rates):
            if one is not None:
                os.close(one)
