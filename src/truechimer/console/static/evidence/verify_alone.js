// The page that is opened from a disk: the form, and a thread whose program stands in the page itself.

import { begin } from "./verify_form.js";

const program = new Blob([document.getElementById("worker").textContent], { type: "text/javascript" });
begin({ newWorker: () => new Worker(URL.createObjectURL(program)) });
