"""Laboratory metrics: every `truechimer_` metric but those of doors, its HELP line and where its values stand.

It measures nothing and keeps no number of its own: a value is there because the status document or a door's counter
file holds it, and absent otherwise. Source: `contract.md`, "Ports and names" (base units, `_total`, bounded labels).
"""

from truechimer.console.clock_metrics import CLOCKS, HOST_CLOCK
from truechimer.console.holdover_metrics import HOLDOVER
from truechimer.console.metric_samples import Family
from truechimer.console.published_metrics import PUBLISHED
from truechimer.console.record_metrics import RECORDS
from truechimer.console.scale_metrics import SCALE
from truechimer.console.source_metrics import SOURCES

LABORATORY: tuple[Family, ...] = (*SCALE, *HOLDOVER, *PUBLISHED, *CLOCKS, *SOURCES, *HOST_CLOCK, *RECORDS)
"""Every metric of ours but `truechimer_up`, in the order in which they are served."""
