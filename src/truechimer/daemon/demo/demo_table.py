"""The demo's closing table and its JSON document: every figure in them was measured in this run.

It measures nothing itself (`demo_story`, `demo_pairs` do). What was not measured is absent, never a magic number.
Source of the keys: contract.md, "Demo JSON".
"""

from typing import Any

from truechimer.daemon.demo.demo_story import Story, Told, duration, length

NS = 1e9
HEAD = ("what happened", "run", "seen after", "scale moved", "served moved", "bound then", "true error then")


def document(story: Story) -> dict[str, Any]:
    """Return the demo's JSON document.

    `samples`, `bound_s_max` and `true_error_s_max` are of the live epochs; `lies` counts those of the branches too
    (`branch_samples`), and a lie is a true error above the bound that was stated with it.
    """
    started = story.laboratory.started
    state = started.state
    counters = [row.get("counters", {}) for row in story.laboratory.status_document()["listeners"]]
    told = in_order(story)
    branches = [one.result for one in told if one.result is not None]
    body: dict[str, Any] = {
        "seed": story.seed,
        "scale": started.config.scale_name,
        "against": "simulated-utc",
        "state": state.service.value,
        "clocks": [clock.name for clock in state.register.clocks if clock.name != "host"],
        "epochs": story.laboratory.epochs,
        "events": [_event(one) for one in told],
        "samples": story.truth.samples,
        "branch_samples": sum(result.truth.samples for result in branches),
        "lies": story.truth.lies + sum(result.truth.lies for result in branches),
        "ntp_requests": sum(int(row.get("received", 0)) for row in counters),
        "ntp_answered": story.ntp_answered,
        "records": state.chain.seq,
    }
    if story.truth.samples:
        body["bound_s_max"] = story.truth.bound_s_max
        body["bound_s_median"] = story.truth.bound_s_median
        body["true_error_s_max"] = story.truth.true_error_s_max
        body["epoch_late_s_max"] = story.epoch_late_s_max
    if story.ntp_errors_s:
        sizes = sorted(abs(error) for error in story.ntp_errors_s)
        body["ntp_error_s_median"] = sizes[len(sizes) // 2]
        body["ntp_error_s_p95"] = sizes[min(len(sizes) - 1, round(0.95 * len(sizes)))]
        body["ntp_outside_stated"] = story.ntp_outside
    if story.replayed:
        body["replay"] = story.replayed
    return body


def is_fine(body: dict[str, Any]) -> bool:
    """Return True where nothing that was given out was false and the replay made the same bytes."""
    return body["lies"] == 0 and body.get("ntp_outside_stated", 0) == 0 and "difference" not in body.get("replay", {})


def in_order(story: Story) -> list[Told]:
    """Return what was told: the two events first, then what needs days, whichever ended first."""
    order = ("clock-step", "link-ramp", "slow-drag", "holdover")
    return sorted(story.told, key=lambda told: order.index(told.planned.name))


def _event(told: Told) -> dict[str, Any]:
    """Return one event's figures; `bound_ns`, `true_error_ns` and `state` are those at its end."""
    pair, result = told.pair, told.result
    row: dict[str, Any] = {
        "what": told.planned.name,
        "target": told.planned.target,
        "how": told.how,
        "scale_moved_ns": pair.scale_moved_s * NS,
    }
    if pair.detected_after_s is not None:
        row["detected_after_s"] = pair.detected_after_s
    if pair.served_moved_s is not None:
        row["served_moved_ns"] = pair.served_moved_s * NS
    if told.bound_s is not None and told.true_error_s is not None:
        row |= {"bound_ns": told.bound_s * NS, "true_error_ns": told.true_error_s * NS, "state": told.state}
    if result is not None:
        row |= {"days": result.days, "lies": result.truth.lies}
        if result.steering_at_limit_s:
            row["steering_at_limit_s"] = result.steering_at_limit_s
        if result.cut:
            row["cut"] = True
    return row


def table(story: Story, body: dict[str, Any]) -> list[str]:
    """Return the closing table and what is to be said below it. `body`: the document, so that both say the same."""
    told = in_order(story)
    rows = [HEAD, *(_row(one) for one in told)]
    wide = [max(len(row[k]) for row in rows) for k in range(len(HEAD))]
    lines = [""]
    if told:
        lines += [
            "  ".join(cell.ljust(wide[k]) if k < 2 else cell.rjust(wide[k]) for k, cell in enumerate(row)).rstrip()
            for row in rows
        ]
        lines += ["", *_notes(told)]
    return [*lines, *_sums(body)]


def _row(told: Told) -> tuple[str, ...]:
    """Return one line of the table as text."""
    pair = told.pair
    return (
        told.planned.says,
        told.how,
        "not seen" if pair.detected_after_s is None else duration(pair.detected_after_s),
        f"{pair.scale_moved_s * NS:.3f} ns",
        "" if pair.served_moved_s is None else f"{pair.served_moved_s * NS:.3f} ns",
        "" if told.bound_s is None else f"{told.bound_s * NS:.1f} ns",
        "" if told.true_error_s is None else f"{told.true_error_s * NS:+.2f} ns",
    )


def _notes(told: list[Told]) -> list[str]:
    """Return what a reader of the table needs to know."""
    lines = ["moved: the most by which this run and the same run without the event differ."]
    if any(one.how == "branch" for one in told):
        lines.append(
            "branch: the same laboratory from the end of its history on, run beside it, faster than real time."
        )
    for one in told:
        result = one.result
        if result is not None and result.steering_at_limit_s:
            lines.append(
                f"{one.planned.name}: for {length(result.steering_at_limit_s)} of {length(result.days * 86_400.0)} "
                "steering stood at the limit that is signed for a day."
            )
        if result is not None and result.cut:
            lines.append(f"{one.planned.name}: cut after {length(result.days * 86_400.0)}, the time was up.")
    return lines


def _sums(body: dict[str, Any]) -> list[str]:
    """Return the figures of the whole run."""
    lines = []
    if "bound_s_max" in body:
        lines.append(
            f"live: stated bound at most {body['bound_s_max'] * NS:.1f} ns; true error, which only the simulated world "
            f"knows, at most {body['true_error_s_max'] * NS:.2f} ns in {body['samples']} samples"
        )
    lines.append(
        f"lies (a true error above its bound): {body['lies']} in {body['samples']} live samples and "
        f"{body['branch_samples']} of branches"
    )
    if "ntp_error_s_median" in body:
        lines.append(
            f"NTP over loopback: {body['ntp_requests']} requests; error of the answers, half of the way there and "
            f"back among it: median {body['ntp_error_s_median'] * 1e6:.1f} us, 95 % below "
            f"{body['ntp_error_s_p95'] * 1e6:.1f} us; outside what they stated: {body['ntp_outside_stated']}"
        )
    if "replay" in body:
        same = "bit for bit" if "difference" not in body["replay"] else "and DIFFER"
        lines.append(f"records: {body['records']}, of which {body['replay']['records_compared']} were replayed {same}")
    return lines
