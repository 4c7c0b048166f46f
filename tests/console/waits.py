"""What tests of the page wait for: expressions that turn true in the browser."""

RUNNING = "document.querySelector('#clock')?.dataset.running === 'yes'"
FILLED = "document.querySelectorAll('#clocks tbody tr').length > 0"
DRAWN = "+document.body.dataset.histories >= 1 && document.querySelector('#utc-plot canvas')?.width > 0"
FITS = "document.documentElement.scrollWidth <= window.innerWidth"
