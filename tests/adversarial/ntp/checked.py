"""The compiled NTP loop's kernels in machine code with bounds checks: run by `test_bounds`, which judges.

Run with NUMBA_BOUNDSCHECK=1 as `python -m tests.adversarial.ntp.checked FOLDER EVERY`; says what was judged as JSON.
"""

import json
import random
import sys
from pathlib import Path

import numpy as np
from tests.adversarial.ntp.loop_memory import RULES, a_loop, controls, datagrams
from tests.adversarial.ntp.test_bounds import SEED, judge_all

from truechimer.daemon.ntp import ntp_batch
from truechimer.daemon.ntp.control_messages import FOUND_WORDS, read_control
from truechimer.serve.ntp.packet_kernel import glance_at


def main() -> None:
    """Judge all of it."""
    says: dict[str, object] = {"an index outside is seen": False}
    octets = np.zeros((1, 40), dtype=np.uint8)
    try:
        glance_at(octets, 1, 48, np.int64(1), 4)  # there is no datagram 1
    except IndexError:
        says["an index outside is seen"] = True
    judged = {}
    for name, rules in RULES.items():
        loop = a_loop(Path(sys.argv[1]), rules)
        found = judge_all(
            loop, ntp_batch.judge, datagrams(random.Random(SEED + 1), every=int(sys.argv[2])), watch=False
        )
        judged[name] = {str(verdict): count for verdict, count in found.items()}
        loop._udp.close()
    control, found_words = np.zeros((1, 24), dtype=np.int64), np.zeros(FOUND_WORDS, dtype=np.int64)
    for words, said, _ in controls(random.Random(SEED + 2)):
        control[0] = np.frombuffer(words[:192].ljust(192, b"\0"), dtype=np.int64)
        read_control(control, 0, said, found_words)
    print(json.dumps(says | {"judged": judged}))


if __name__ == "__main__":
    main()
