"""The screen of `truechimer top`: one status document and what was counted since the last, as lines of a given size.

It asks nothing, judges nothing and touches no terminal: the same document and size give the same lines. What matters
most is never cut away: whether the time is stated, its bound, that it is simulated, what is wrong. The rest shares the
lines that are left, and says how many of its rows had no room.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from truechimer.cli import lab_words
from truechimer.cli.lab_words import SIMULATED_BANNER, age, bound, is_simulated, number, plain, rows_of, seconds
from truechimer.cli.now_verb import refusal
from truechimer.cli.screen_words import Piece, Row, Style, beside, clipped, filled, folded, row
from truechimer.cli.sources_verb import mark_of, mode_of, ours_minus_source_s

LEAST_WIDTH, LEAST_HEIGHT = 40, 10
WIDE = 120
"""Columns from which clocks and sources stand beside each other."""

BAR = 16
RANK = {"critical": 0, "warning": 1, "notice": 2}
STATE_STYLES = {"steered": Style.GOOD, "holdover": Style.DOUBT, "acquiring": Style.DOUBT}
MARK_STYLES = {"*": Style.GOOD, "+": Style.GOOD, "x": Style.BAD, "?": Style.DOUBT, "~": Style.DOUBT}
SEVERITY_STYLES = {"critical": Style.BAD, "warning": Style.DOUBT}


@dataclass(frozen=True, slots=True)
class Seen:
    """What the screen shows: the last `document`, None before the first; `silent_s`: for how long it has not been
    renewed, with the reason (None: it is fresh); `rates_per_s`: requests a second by door.
    """

    document: dict[str, Any] | None = None
    silent_s: float | None = None
    because: str = ""
    rates_per_s: dict[str, float] = field(default_factory=dict)


def frame(seen: Seen, width: int, height: int, *, blocks: bool = True) -> list[Row]:
    """Return the lines of a screen of `width` columns and `height` lines, none wider, and no more of them.

    `blocks`: bars are drawn with block letters, else with `#`.
    """
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        says = f"{width}x{height}: top needs {LEAST_WIDTH}x{LEAST_HEIGHT}"
        return [clipped(row(Piece(says, Style.DOUBT)), width)][: max(height, 0)]
    document = seen.document
    if document is None:
        head = [row(Piece("truechimer top", Style.STRONG)), *_silence(seen, width)]
        return [clipped(line, width) for line in head][:height]
    head = [*_banner(document, width), *_silence(seen, width), *_clock(document, width, is_silent=_is_silent(seen))]
    head += _troubles(document, width)
    foot = clipped(row(Piece("q quits; truechimer status says more", Style.DIM)), width)
    room = height - len(head) - 1
    body = _body(document, seen, width, room, blocks=blocks)
    lines = [*head, *body][: height - 1]
    lines += [()] * (height - 1 - len(lines))
    return [*(clipped(line, width) for line in lines), foot]


def _is_silent(seen: Seen) -> bool:
    return seen.silent_s is not None


def _banner(document: dict[str, Any], width: int) -> list[Row]:
    if not is_simulated(document):
        return []
    words = SIMULATED_BANNER if width >= len(SIMULATED_BANNER) else "SIMULATED: this is not the time"
    return [tuple(Piece(piece.text, Style.BANNER) for piece in filled(row(words), width))]


def _silence(seen: Seen, width: int) -> list[Row]:
    """Say since when the laboratory is silent, by its own last word and by what has passed since."""
    if seen.silent_s is None:
        return [] if seen.document is not None else [row("asking the laboratory ...")]
    words = f"SILENT for {age(seen.silent_s)}{'s' if seen.silent_s < 1024 else ''}"
    if seen.document is not None and seen.document.get("utc"):
        words += f", since {plain(seen.document['utc'])[:19]}Z"
    words += f": {plain(seen.because)}; what stands below is what it said last"
    if seen.document is None:
        words = f"SILENT: {plain(seen.because)}"
    return [row(Piece(line, Style.BAD)) for line in folded(words, width, most=3)]


def _clock(document: dict[str, Any], width: int, *, is_silent: bool) -> list[Row]:
    """Return the time with its bound, the state, and how long it would last."""
    state = plain(document.get("state", "-"))
    style = STATE_STYLES.get(state, Style.BAD)
    lines: list[Row] = []
    if document.get("synchronised") is True:
        utc = plain(document.get("utc", "-"))
        words = f"{utc[:23]}Z" if len(utc) > 23 else utc
        clock_style = Style.DIM if is_silent else Style.STRONG
        sigma = f"  one sigma {seconds(number(document, 'u_s'))}" if number(document, "u_s") is not None else ""
        known = f"  +/- {bound(number(document, 'bound_s'))}"
        lines.append(row(Piece(words, clock_style), Piece(known, clock_style), Piece(sigma, Style.DIM)))
    else:
        lines += [row(Piece(line, Style.BAD)) for line in folded(refusal(document), width, most=2)]
    sentence = plain(document.get("state_sentence", ""))
    says = folded(f"{state}: {sentence}" if sentence else state, width, most=2)
    lines += [row(Piece(line, style)) for line in says]
    lines.append(row(Piece(", ".join(_about(document)), Style.DIM)))
    return lines


def _about(document: dict[str, Any]) -> list[str]:
    words = []
    left_s, limit_s = number(document, "holdover_remaining_s"), number(document, "holdover_limit_s")
    if left_s is not None and limit_s is not None:
        words.append(f"bound within {bound(limit_s)} for {lab_words.long_span(left_s)}")
    if document.get("observing") is True:
        words.append("OBSERVING: steers nothing")
    words.append(plain(document.get("scale", "-"), 40))
    if document.get("lab"):
        words.append(plain(document["lab"], 40))
    if number(document, "uptime_s") is not None:
        words.append(f"up {lab_words.long_span(number(document, 'uptime_s') or 0.0)}")
    if number(document, "records") is not None:
        words.append(f"{number(document, 'records'):.0f} records")
    return words


def _troubles(document: dict[str, Any], width: int) -> list[Row]:
    """Return what is wrong beside the time: records, what leaves as messages, chronyd, the host's clock, the vote."""
    says: list[tuple[str, Style]] = []
    store = _table(document, "store")
    if store and store.get("state", "written") != "written":
        waits = f"{plain(store.get('waiting', '-'))} wait"
        says.append((f"RECORDS NOT WRITTEN: {plain(store.get('says', store['state']))}; {waits}", Style.BAD))
    notify = _table(document, "notify")
    webhook = _table(notify, "webhook")
    if webhook.get("says"):
        says.append((f"webhook {plain(webhook.get('host', ''))}: {plain(webhook['says'])}", Style.DOUBT))
    elif number(webhook, "dropped"):
        says.append((f"webhook: {number(webhook, 'dropped'):.0f} alerts dropped", Style.DOUBT))
    says += [
        (f"{plain(chronyd.get('name', 'chronyd'))}: {plain(chronyd['says'])}", Style.DOUBT)
        for chronyd in rows_of(document, "chrony")
        if chronyd.get("says")
    ]
    host = _table(document, "host_clock")
    x_s = number(host, "x_host_clock_minus_utc_s")
    if x_s is not None:
        words = f"this machine's own clock - UTC {seconds(x_s, signed=True)} +/- {bound(number(host, 'bound_s'))}"
        is_off = host.get("is_off") is True
        says.append((f"{words}: OFF" if is_off else words, Style.DOUBT if is_off else Style.DIM))
    lines = [row(Piece(line, style)) for words, style in says[:4] for line in folded(words, width, most=1)]
    return lines + ([row(Piece(f"and {len(says) - 4} more troubles", Style.DOUBT))] if len(says) > 4 else [])


def _body(document: dict[str, Any], seen: Seen, width: int, room: int, *, blocks: bool) -> list[Row]:
    """Return clocks, sources, doors and alerts in at most `room` lines; alerts come last and are granted first."""
    alerts, doors = _alerts(document), _doors(document, seen)
    if width >= WIDE:
        half = (width - 3) // 2
        pair = beside(_clocks(document, half, blocks=blocks), _sources(document, half), left_width=half)
        blocks_of_lines = [pair, doors, alerts]
    else:
        blocks_of_lines = [_clocks(document, width, blocks=blocks), _sources(document, width), doors, alerts]
    shown = [block for block in blocks_of_lines if block]
    lines: list[Row] = []
    for block, share in zip(shown, _shares([len(block) + 1 for block in shown], room), strict=True):
        if share >= 2:
            lines += [(), *_fitted(block, share - 1)]
    return lines


def _shares(wants: list[int], room: int) -> list[int]:
    """Return how many of `room` lines each block gets: what it wants where that is little, the rest in equal parts."""
    shares = [0] * len(wants)
    left, open_blocks = room, set(range(len(wants)))
    while open_blocks and left > 0:
        part = max(1, left // len(open_blocks))
        for index in sorted(open_blocks, reverse=True):
            more = min(part, wants[index] - shares[index], left)
            shares[index] += more
            left -= more
        open_blocks = {index for index in open_blocks if shares[index] < wants[index]}
    return shares


def _fitted(block: list[Row], room: int) -> list[Row]:
    """Return a block in at most `room` lines; the first is its heading, the last says what had no room."""
    if len(block) <= room:
        return block
    if room == 1:
        return [(*block[0], Piece(f"  {len(block) - 1} rows, no room", Style.DIM))]
    return [*block[: room - 1], row(Piece(f"and {len(block) - room + 1} more", Style.DIM))]


def _clocks(document: dict[str, Any], width: int, *, blocks: bool) -> list[Row]:
    rows = rows_of(document, "clocks")
    if not rows:
        return []
    name_width = max(5, min(20, max(len(plain(clock.get("name", "-"), 20)) for clock in rows)))
    bar = BAR if width >= 70 else 8
    lines = [row(Piece(f"{'clock':<{name_width}}  {'weight':>6}  {'':<{bar}}  clock - scale  state", Style.STRONG))]
    top = max((number(clock, "weight") or 0.0 for clock in rows), default=0.0)
    for clock in rows:
        weight = number(clock, "weight") or 0.0
        state = plain(clock.get("state", "-"))
        reason = plain(clock.get("reason", ""), 60)
        is_fine = state in {"in", "observer"}
        lines.append(
            (
                *filled(row(plain(clock.get("name", "-"), 20)), name_width),
                Piece(f"  {lab_words.weight(number(clock, 'weight')):>6}  "),
                Piece(_bar(weight / top if top > 0.0 else 0.0, bar, blocks=blocks), Style.GOOD),
                Piece(f"  {seconds(number(clock, 'x_clock_minus_scale_s'), signed=True):>13}  "),
                Piece(state, Style.PLAIN if is_fine else Style.DOUBT),
                Piece(f"  {reason}" if reason and reason != state else "", Style.DIM),
            )
        )
    return lines


def _bar(part: float, width: int, *, blocks: bool) -> str:
    """Return a bar of `part` (0 to 1) of `width` columns; what weighs anything at all is seen."""
    eighths = min(8 * width, max(round(8 * width * part), 1 if part > 0.0 else 0))
    if not blocks:
        return ("#" * -(-eighths // 8)).ljust(width)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (" ▏▎▍▌▋▊▉"[rest] if rest else "")).ljust(width)


def _sources(document: dict[str, Any], width: int) -> list[Row]:
    rows = rows_of(document, "sources")
    if not rows:
        return [row(Piece("no source claims UTC: the scale runs free", Style.DOUBT))]
    vote = _table(document, "selection")
    name_width = max(6, min(24, max(len(plain(source.get("name", "-"), 24)) for source in rows)))
    head = f"{'source':<{name_width + 3}}{'LastRx':>6}  {'ours-source':>11}  {'+/-':>7}"
    head += "  operator" if width >= 70 else ""
    lines = [row(Piece(head, Style.STRONG), Piece(f"  {plain(vote.get('state', ''))}", Style.DIM))]
    for source in rows:
        mark = mark_of(source)
        lines.append(
            (
                Piece(mode_of(source)),
                Piece(f"{mark} ", MARK_STYLES.get(mark, Style.PLAIN)),
                *filled(row(plain(source.get("name", "-"), 24)), name_width),
                Piece(f" {age(number(source, 'age_s')):>6}  {seconds(ours_minus_source_s(source), signed=True):>11}"),
                Piece(f"  {bound(lab_words.margin_s(source)):>7}"),
                Piece(f"  {plain(source.get('operator', ''), 32)}" if width >= 70 else "", Style.DIM),
                Piece(f"  {plain(source['says'], 80)}" if source.get("says") else "", Style.DOUBT),
            )
        )
    return lines


def _doors(document: dict[str, Any], seen: Seen) -> list[Row]:
    rows = rows_of(document, "listeners")
    if not rows:
        return []
    lines = [row(Piece("door", Style.STRONG))]
    for door in rows:
        words = [door_name(door)]
        sock, counters = _table(door, "sock"), _table(door, "counters")
        if sock:
            words.append(f"{plain(sock.get('now', '-'))}, {plain(sock.get('sent', 0))} samples sent")
        if number(door, "bound_limit_s") is not None:
            words.append(f"up to {seconds(number(door, 'bound_limit_s'))}")
        if "received" in counters:
            rate = seen.rates_per_s.get(door_name(door))
            words.append("- /s" if rate is None else f"{rate:.1f} /s" if rate < 100.0 else f"{rate:.0f} /s")
            words.append(f"{plain(counters['received'])} requests")
        is_closed = door.get("alive") is False
        lines.append(
            row("  ".join(words), Piece("  ENDED" if is_closed else "", Style.BAD if is_closed else Style.PLAIN))
        )
    return lines


def door_name(door: dict[str, Any]) -> str:
    """Return what names a door: protocol and place."""
    if door.get("path") is not None:
        return f"{plain(door.get('protocol', '-'))} {plain(door['path'])}"
    return f"{plain(door.get('protocol', '-'))} {plain(door.get('address', '-'))} {plain(door.get('port', '-'))}"


def _alerts(document: dict[str, Any]) -> list[Row]:
    """Return what holds now, then the alerts, the newest of the worst first."""
    held = [
        f"{plain(condition.get('alert', '-'))} {', '.join(plain(subject, 40) for subject in condition['subjects'])}"
        for condition in rows_of(_table(document, "firing"), "conditions")
        if isinstance(condition.get("subjects"), list) and condition["subjects"]
    ]
    rows = rows_of(document, "alerts")
    heading = "alerts: none" if not rows else f"alerts: {len(rows)}"
    lines = [row(Piece(heading, Style.STRONG), Piece(f"  holding now: {'; '.join(held)}" if held else "", Style.DOUBT))]
    newest = list(reversed(rows))
    times = Counter(_same(alert) for alert in rows)
    once = {_same(alert): alert for alert in reversed(newest)}
    newest = [alert for alert in newest if once[_same(alert)] is alert]
    for alert in sorted(newest, key=lambda alert: RANK.get(str(alert.get("severity")), len(RANK))):
        severity = plain(alert.get("severity", "-"))
        says, subject = plain(alert.get("says", "")), plain(alert.get("subject", ""))
        words = f" {plain(alert.get('alert', '-'))}: {says if says.startswith(subject) else f'{subject}: {says}'}"
        words += f" ({times[_same(alert)]} times)" if times[_same(alert)] > 1 else ""
        lines.append(row(Piece(severity, SEVERITY_STYLES.get(severity, Style.DIM)), words))
    return lines


def _same(alert: dict[str, Any]) -> tuple[str, ...]:
    """Return what two alerts have in common that are shown as one: the newest, and how often."""
    return tuple(str(alert.get(key, "")) for key in ("severity", "alert", "subject"))


def _table(document: dict[str, Any], key: str) -> dict[str, Any]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}
