/* The page of workers, of which no event tells: it is drawn again now and then. */

import { refresh } from "./refresh.js";

const EVERY_MS = 5000;

setInterval(refresh, EVERY_MS);
