"""What tests of the page wait for: expressions that turn true in the browser."""

from tests.console.browser import Browser

RUNNING = "document.querySelector('#clock')?.dataset.running === 'yes'"
FILLED = "document.querySelectorAll('#clocks tbody tr').length > 0"
DRAWN = "+document.body.dataset.histories >= 1 && document.querySelector('#utc-plot canvas')?.width > 0"
FITS = "document.documentElement.scrollWidth <= window.innerWidth"


def wide(browser: Browser) -> None:
    """Show the page that is there at the width of a desk."""
    browser.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
