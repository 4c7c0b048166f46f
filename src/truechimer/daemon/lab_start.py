"""From a checked LAB.toml to a run: clocks, links, policy, label, and the state that earlier records bring back.

It starts no thread and opens no door. A laboratory with records resumes from them: the replay of its log, begun where
the newest good snapshot ends; one without begins anew.
"""

import secrets
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from truechimer._version import __version__
from truechimer.clocks.clock import Clock, ClockKind
from truechimer.clocks.register import host_clock, is_reference
from truechimer.daemon.answering.now_document import scale_name
from truechimer.daemon.door import door_policy
from truechimer.daemon.door.counters import door_name
from truechimer.daemon.hold import Hold
from truechimer.daemon.host_clocks import HostClocks
from truechimer.daemon.lab import guarded
from truechimer.daemon.lab.lab_check import CheckedLab
from truechimer.daemon.lab.lab_file import LabFile
from truechimer.daemon.lab.listener_settings import Protocol
from truechimer.daemon.lab.source_settings import Source, SourceKind
from truechimer.daemon.lab.utc_settings import SteerBy
from truechimer.daemon.orders import orders_standing, policy_files
from truechimer.daemon.orders.policy_files import PolicyFiles
from truechimer.daemon.records import last_page, lost_records, other_version
from truechimer.daemon.records.journal import Journal
from truechimer.daemon.records.snapshots import Snapshots, resume, world_again
from truechimer.daemon.sources.feeds import HostLabel
from truechimer.daemon.sources.receiver_feed import receiver_of
from truechimer.errors import Misuse, Rejected
from truechimer.instants import FS_PER_NS, FS_PER_S, Instant, LeapTable
from truechimer.laboratory import orders as orders_in_force
from truechimer.laboratory import replay, run_start
from truechimer.laboratory.measured_coverage import COVERAGE
from truechimer.laboratory.orders import Orders
from truechimer.laboratory.publications import PublishedSettings
from truechimer.laboratory.run_start import RunStart
from truechimer.laboratory.snapshot import Mark, Roots
from truechimer.laboratory.state import LaboratoryConfig, LaboratoryState
from truechimer.serve.clock_page import ClockPage
from truechimer.sim.scenario import Scenario
from truechimer.sim.scenario_file import read as read_scenario
from truechimer.sim.world import World
from truechimer.store.sqlite_records import SqliteRecords

DAY_S = 86_400.0
SIMULATED_REFID = b"SIM\0"
OWN_REFID = b"XTRU"
"""Reference identifier of a stratum-1 service of ours; those that begin with X are for private use (RFC 9748 section
3).
"""

ATOMIC_TIME_CONSTANT_S = 5.0 * DAY_S
ATOMIC_STEER_EVERY_S = DAY_S / 4.0
OSCILLATOR_TIME_CONSTANT_S = 32.0
OSCILLATOR_STEER_EVERY_S = 10.0
BACKLOG_DAYS = 30.0
"""The first envelope also covers this much of the past, so that a backlog of readings can teach the rate against UTC.
"""

REQUALIFY_INTERVALS = 60.0
LINK_KINDS = frozenset({SourceKind.LINK, SourceKind.NTP, SourceKind.NTS, SourceKind.CHRONY})

WRITTEN_OUT = b"""
[policy]
# written by the first start: one person, one key in a file. Whoever reads that file can order steers.
insecure_software_keys = true
"""


class LabStartRejected(Rejected):
    """The laboratory cannot start from what is there."""


@dataclass(slots=True)
class Started:
    """A run that is ready: constants, state, records, label, and the simulated world where there is one. `hold`: its
    folder is this process's.

    `known` records stand behind the snapshot that it was resumed from, and `replayed` were repeated after them;
    `last_page`: what doors of the last run still read, covered by a record; `false_page`: what must take its place
    because no record covers it; `lost`: records that the run before had on the disk, and that are gone; `changed`: what
    was edited since the last start though an order changes it.
    """

    folder: Path
    lab: LabFile
    start: RunStart
    config: LaboratoryConfig
    state: LaboratoryState
    store: SqliteRecords
    journal: Journal
    snapshots: Snapshots
    roots: Roots
    label: HostLabel
    world: World | None
    hold: Hold
    resumed: bool = False
    known: int = 0
    replayed: int = 0
    last_page: ClockPage | None = None
    false_page: ClockPage | None = None
    lost: int = 0
    changed: tuple[str, ...] = ()

    def release(self) -> None:
        """Give the folder back."""
        self.snapshots.close()
        self.hold.release()


def open_run(
    checked: CheckedLab,
    clocks: HostClocks,
    *,
    hold: Hold | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Started:
    """Open a run from a checked file; raises `Rejected` where policy or records do not allow one. `hold`: of its
    folder, where the caller has it already.
    """
    if checked.lab is None or checked.leap_table is None:
        raise Misuse("a run is opened from a file without faults")
    hold = hold or Hold(checked.folder)
    snapshots = Snapshots(checked.folder, say=progress)
    store: SqliteRecords | None = None
    try:
        lab, folder, leaps = checked.lab, checked.folder, checked.leap_table
        scenario = _scenario(lab, folder)
        members = _clocks(lab, scenario)
        now = HostLabel(clocks.raw_ns(), _wall_label_ns(clocks, leaps))
        files = None if checked.observe else _policy(checked, members, scenario, now.tai_ns)
        boot_id = clocks.boot_id().hex()
        edited = guarded.parts(lab, members, leaps, folder)
        start = replace(_run_start(lab, members, scenario, files, leaps, now, boot_id), guarded=edited)
        if lab.utc.published is not None:
            (folder / lab.utc.published).mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / lab.evidence.folder / "records.sqlite3"
        lost = lost_records.look(path, snapshots)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        other_version.look_before_opening(path)
        store = SqliteRecords(path)
        begun = _begin if not store.count() else _resume
        journal = Journal(store, path=store.path)
        opening = _Opening(folder, lab, start, scenario, store, journal, snapshots, now, boot_id, hold, progress)
        started = begun(opening)
        return replace(started, lost=lost, changed=started.changed + _doors_changed(started, observe=checked.observe))
    except BaseException:
        if store is not None:
            store.close()
        snapshots.close()
        hold.release(as_found=True)
        raise


@dataclass(frozen=True, slots=True)
class _Opening:
    """What both ways to a run begin with."""

    folder: Path
    lab: LabFile
    start: RunStart
    scenario: Scenario | None
    store: SqliteRecords
    journal: Journal
    snapshots: Snapshots
    now: HostLabel
    boot_id: str
    hold: Hold
    progress: Callable[[str], None]


def _begin(opening: _Opening) -> Started:
    """Begin a laboratory: its first record."""
    o, world = opening, None
    _refuse_envelope(o, None)
    if o.scenario is not None:
        world = World(o.scenario, seed=_seed(o.lab, o.folder), anchor_tai_ns=o.now.tai_ns, anchor_raw_ns=o.now.raw_ns)
    config, state, sealed = replay.begin_run(o.start, None, same_boot=True)
    o.store.append([(sealed.seq, sealed.data)])
    roots = Roots(Mark.of(sealed.seq, sealed.data))
    return Started(
        o.folder, o.lab, o.start, config, state, o.store, o.journal, o.snapshots, roots, o.now, world, o.hold
    )


def _resume(opening: _Opening) -> Started:
    """Go on from the records; the first of the new run waits with the others where the disk takes none now."""
    o, world = opening, None
    resumed = resume(o.store, o.snapshots, say=o.progress)
    found = resumed.replay
    other_version.refuse_unless_repeated(o.store.path, found, o.store.count())
    if found.state is None or found.start is None:
        raise Misuse("records that were repeated end in a state")
    same_boot = found.start.boot_id == o.boot_id
    label = _label_after(found.start, found.state, o.now, same_boot=same_boot)
    if o.scenario is not None:
        if not same_boot:
            raise LabStartRejected(
                "a simulated laboratory cannot go on after a boot: its world hangs on the raw counter; start it in a "
                "new folder"
            )
        seed = _seed(o.lab, o.folder)
        world = world_again(o.scenario, seed, (label.tai_ns, label.raw_ns), o.store, o.snapshots)
    start = run_start.merged(
        replace(o.start, anchor_raw_ns=label.raw_ns, anchor_tai_ns=label.tai_ns), found.state.register
    )
    _refuse_envelope(o, found.state.orders)
    changed = _changed(o, found.start, found.state)
    orders = found.state.orders
    if orders is not None and not start.observe:
        start = replace(start, policy=orders.applier.policy)  # what the records say is in force, not what a file says
    config, state, sealed = replay.begin_run(start, found.state, same_boot=same_boot)
    o.journal.keep((sealed,))
    o.journal.commit()
    page = last_page.look(
        o.folder / "run" / "clock.page", o.store, boot_id=bytes.fromhex(o.boot_id), raw_ns=o.now.raw_ns
    )
    roots = Roots(Mark.of(sealed.seq, sealed.data))
    return Started(
        o.folder,
        o.lab,
        start,
        config,
        state,
        o.store,
        o.journal,
        o.snapshots,
        roots,
        label,
        world,
        o.hold,
        resumed=True,
        known=resumed.known,
        replayed=resumed.replayed,
        last_page=page.page,
        false_page=page.false,
        changed=changed,
    )


def _refuse_envelope(o: _Opening, before: Orders | None) -> None:
    """Raise `LabStartRejected` where the envelope of the policy's folder is a new one and cannot be taken."""
    if o.start.policy is None or o.start.envelope is None:
        return
    refused = orders_in_force.refusal_of(before or orders_in_force.begun(o.start.policy), o.start.envelope)
    if refused is not None:
        raise LabStartRejected(
            f"{o.lab.policy.folder}/envelope.json: the steering envelope is refused ({refused.says}); nothing is "
            "steered by it: put back the signed one, or have a new one signed (`truechimer init DIR --renew-envelope`)"
        )


def _changed(o: _Opening, before: RunStart, state: LaboratoryState) -> tuple[str, ...]:
    """Return what was edited since the last start without an order; raises `LabStartRejected` where the laboratory's
    file, or that of the last start, says that nothing may be.
    """
    approved = {} if state.orders is None else dict(state.orders.parts)
    old = guarded.as_before(before.guarded, o.lab, o.start.clocks, o.start.leaps)
    found = guarded.changed(before.guarded, o.start.guarded if old is None else tuple(old.items()), approved)
    if state.orders is not None and o.start.policy is not None:
        in_force = state.orders.applier
        waiting = None if in_force.pending is None else in_force.pending.change.policy.digest
        if o.start.policy.digest not in {in_force.policy.digest, waiting}:
            found += ("policy-file",)
    if found and guarded.refuses(before.guarded, o.lab):
        raise LabStartRejected(
            f"edited since the last start, without an order: {', '.join(found)}; [policy] refuse_changes_without_order "
            "is true, or was at the last start: put back what stood there, start, and have the edit approved "
            "(`truechimer order propose configuration --edited NEW.toml --target PART`)"
        )
    return found


def _doors_changed(started: Started, *, observe: bool) -> tuple[str, ...]:
    """Lay the doors' policies by order before them; return those that somebody had edited or taken away meanwhile."""
    orders = started.state.orders
    if observe or orders is None:
        return ()
    try:
        return tuple(f"policy of {name}" for name in door_policy.lay(started.folder, orders.doors))
    except OSError as error:
        raise LabStartRejected(f"run/: the policy of a door cannot be written there ({error.strerror})") from None


def _wall_label_ns(clocks: HostClocks, leaps: LeapTable) -> int:
    """Read the wall clock once, as a label: TAI = UTC + what the leap table says for about now."""
    unix_ns = clocks.realtime_ns()
    about = Instant(unix_ns * FS_PER_NS + leaps.entries[-1].tai_minus_utc_s * FS_PER_S)
    return unix_ns + leaps.tai_minus_utc_at(about) * 10**9


def _label_after(before: RunStart, state: LaboratoryState, now: HostLabel, *, same_boot: bool) -> HostLabel:
    """Return the label to go on with: the old one while the counter runs on, a new one after a boot, never before the
    last epoch.
    """
    if same_boot:
        return HostLabel(before.anchor_raw_ns, before.anchor_tai_ns)
    return HostLabel(now.raw_ns, max(now.tai_ns, state.epoch_ns + 10**9))


def _scenario(lab: LabFile, folder: Path) -> Scenario | None:
    """Read the scenario of a simulated source, if there is one."""
    for source in lab.sources:
        if source.kind is SourceKind.SIMULATED and source.scenario is not None:
            scenario, findings = read_scenario((folder / source.scenario).read_bytes())
            if scenario is None:
                raise LabStartRejected("; ".join(finding.at(source.scenario) for finding in findings))
            return scenario
    return None


def _seed(lab: LabFile, folder: Path) -> int:
    """Return the seed of a simulated laboratory; drawn once and written down where the file names none."""
    if lab.lab.seed is not None:
        return lab.lab.seed
    path = folder / "run" / "seed"
    if path.exists():
        return int(path.read_text(encoding="ascii"))
    seed = secrets.randbelow(2**31)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_text(f"{seed}\n", encoding="ascii")
    return seed


def _clocks(lab: LabFile, scenario: Scenario | None) -> tuple[Clock, ...]:
    """Return the register's clocks: those of the file, those of the scenario that it does not name, and the host at the
    end.
    """
    named = tuple(clock for clock in lab.clocks if clock.kind is not ClockKind.HOST and clock.name != "host")
    known = {clock.name for clock in named}
    if scenario is not None:
        named += tuple(clock.declared for clock in scenario.clocks if clock.name not in known)
    host = next((clock for clock in lab.clocks if clock.name == "host"), host_clock())
    return (*named, host)


def clocks_of(lab: LabFile, folder: Path) -> tuple[Clock, ...]:
    """Return the clocks of a laboratory's file, those of its scenario among them."""
    return _clocks(lab, _scenario(lab, folder))


def _run_start(  # noqa: PLR0917 - a lay-out of what was read, called once
    lab: LabFile,
    members: tuple[Clock, ...],
    scenario: Scenario | None,
    files: PolicyFiles | None,
    leaps: LeapTable,
    label: HostLabel,
    boot_id: str,
) -> RunStart:
    """Lay out everything the run depends on."""
    atomic = any(clock.kind.is_atomic for clock in members)
    pairs: list[tuple[str, str]] = []
    operators: dict[str, str] = {}
    refids: dict[str, bytes] = {}
    polls: dict[str, float] = {}
    if scenario is not None:
        pairs += [(link.a, link.b) for link in scenario.links]
        pairs.append(("host", scenario.pivot))
        operators |= {
            end: link.operator
            for link in scenario.links
            for end in (link.a, link.b)
            if end.startswith("UTC") and link.operator
        }
    for source in lab.sources:
        if source.kind is SourceKind.NTP:
            name = f"UTC.{source.name}"
            pairs.append((name, "host"))
            operators[name] = source.operator_name
            refids[name] = _refid(source)
            polls[name] = source.poll_interval_s
    interval_s = lab.scale.interval_s
    time_constant_s = lab.steer.time_constant_s or (
        ATOMIC_TIME_CONSTANT_S if atomic else max(OSCILLATOR_TIME_CONSTANT_S, 4.0 * interval_s)
    )
    every_s = lab.steer.decide_every_s or (
        ATOMIC_STEER_EVERY_S if atomic else max(OSCILLATOR_STEER_EVERY_S, interval_s)
    )
    return RunStart(
        name=lab.lab.name,
        scale_name=scale_name(lab.lab.name, simulated=lab.is_simulated, observe=files is None),
        version=__version__,
        simulated=lab.is_simulated,
        clocks=members,
        pairs=tuple(dict.fromkeys(pairs)),
        operators=tuple(operators.items()),
        interval_s=interval_s,
        algorithm=lab.scale.algorithm.value,
        tau_weight_s=lab.scale.tau_weight_s,
        weight_cap_n=lab.scale.weight_cap_n,
        probation_s=lab.scale.tau_weight_s,
        steer_time_constant_s=time_constant_s,
        steer_interval_s=every_s,
        requalify_s=REQUALIFY_INTERVALS * interval_s,
        silence_s=lab.lab.silence_s,
        policy=None if files is None else files.policy,
        envelope=None if files is None else files.envelope,
        observe=files is None,
        leaps=leaps,
        coverage=COVERAGE.get(lab.scale.algorithm.value, 0.0),
        refid=SIMULATED_REFID if lab.is_simulated else OWN_REFID,
        polls=tuple(polls.items()),
        reference_refids=() if lab.is_simulated else tuple(refids.items()),
        anchor_raw_ns=label.raw_ns,
        anchor_tai_ns=label.tai_ns,
        delays=lab.delays,
        boot_id=boot_id,
        doors=tuple(door_name("ntp", *where) for where in _ntp_doors(lab)),
        receivers=tuple(receiver_of(one) for one in lab.receivers),
        published=_published(lab, scenario),
    )


def _published(lab: LabFile, scenario: Scenario | None) -> PublishedSettings | None:
    """Return how published values are taken; None where the file names no folder for them."""
    if lab.utc.published is None:
        return None
    has_links = any(source.kind in LINK_KINDS for source in lab.sources) or (
        scenario is not None and any(is_reference(end) for link in scenario.links for end in (link.a, link.b))
    )
    by = lab.utc.by or (SteerBy.LINKS if has_links else SteerBy.PUBLISHED)
    return PublishedSettings(
        laboratory=lab.utc.laboratory or lab.lab.name,
        steers=by is SteerBy.PUBLISHED,
        before=lab.utc.before or "",
        u_fountain=lab.utc.fountain_u_b,
        accuracy=lab.utc.accuracy,
        day_stability=lab.utc.day_stability,
        time_constant_s=lab.steer.time_constant_s,
    )


def _ntp_doors(lab: LabFile) -> tuple[tuple[str, int], ...]:
    """Return the places of the doors that an order can give a policy."""
    return tuple((one.address, one.port_number) for one in lab.listeners if one.protocol is Protocol.NTP)


def _refid(source: Source) -> bytes:
    """Return the reference identifier for a server we follow: its IPv4 address, or of its IPv6 address the first octets
    of a hash (RFC 5905 7.3), so that it knows when it is asked to follow us. A server by name has a hash of its name:
    what that resolves to may change, and the run's own words do not.
    """
    import hashlib
    import ipaddress

    from truechimer.serve.ntp.client import refid_of

    place = source.place
    host = "" if place is None else place.host
    try:
        return refid_of(ipaddress.ip_address(host.partition("%")[0]).packed)
    except ValueError:
        return hashlib.md5(host.encode(), usedforsecurity=False).digest()[:4]


def _restore_policy(checked: CheckedLab, folder: Path) -> None:
    """Write policy and envelope of the records into a policy folder that has none: who may order does not begin anew
    because a folder is gone.
    """
    assert checked.lab is not None
    if policy_files.has_policy(folder):
        return
    try:
        found = orders_standing.envelope_of_laboratory(checked.folder, checked.lab.evidence.folder)
    except Rejected:
        return  # records that cannot be read are told of where they are opened
    if found is not None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        policy_files.write_envelope(folder, found[1])
        policy_files.write_policy(folder, found[0])
        print(f"{folder}: no policy there; it is the one of the records: {found[0].sentence}", file=sys.stderr)


def _policy(checked: CheckedLab, members: tuple[Clock, ...], scenario: Scenario | None, now_ns: int) -> PolicyFiles:
    """Load the policy; where there is none, make the first one (1 of 1, software key) and write the ugly word into the
    laboratory's file.
    """
    assert checked.lab is not None
    folder = checked.folder / checked.lab.policy.folder
    _restore_policy(checked, folder)
    if policy_files.has_policy(folder):
        files = policy_files.load(folder)
        if files.policy.insecure_software_keys and not checked.lab.policy.insecure_software_keys:
            raise LabStartRejected(
                f"{checked.path}: the policy uses software keys; write [policy] insecure_software_keys = true, or use "
                "hardware keys"
            )
        return files
    if not checked.lab.policy.insecure_software_keys:
        if "policy" in tomllib.loads(checked.data.decode()):
            raise LabStartRejected(
                f"{checked.path}: there is no policy in {folder.name}/, and [policy] does not allow software keys; "
                "run `truechimer init` for hardware keys, or write insecure_software_keys = true"
            )
        try:
            with checked.path.open("ab") as file:
                file.write(WRITTEN_OUT if checked.data.endswith(b"\n") else b"\n" + WRITTEN_OUT)
        except OSError as error:
            raise LabStartRejected(
                f"{checked.path}: cannot write `[policy] insecure_software_keys = true` ({error.strerror}); write it "
                "yourself"
            ) from None
        print(
            f"{checked.path}: no policy yet: made one person's software key, and wrote [policy] "
            "insecure_software_keys = true",
            file=sys.stderr,
        )
    past_days = BACKLOG_DAYS if scenario is None else scenario.run.days + 1.0
    name = checked.lab.lab.name
    return policy_files.make_first_policy(
        folder,
        members,
        laboratory=name,
        target=scale_name(name, simulated=checked.lab.is_simulated, observe=False),
        now_ns=now_ns,
        past_days=past_days,
    )
