// Waits until no key and no button was pressed for a while, so that nothing changes under a moving finger.
// Knows nothing of what waits.

export const STILL_MS = 1000;

export function createStillness({ now = () => performance.now(), later = setTimeout, never = clearTimeout } = {}) {
  let pressedAt = -Infinity;
  let waiting = null;
  let timer = 0;

  function start() {
    never(timer);
    timer = later(() => {
      const run = waiting;
      waiting = null;
      run?.();
    }, Math.max(0, pressedAt + STILL_MS - now()));
  }

  return {
    /** A key or button was pressed: what waits waits on. */
    pressed() {
      pressedAt = now();
      if (waiting) start();
    },
    /** Run this once nothing was pressed for STILL_MS; it replaces what waits. */
    whenStill(run) {
      waiting = run;
      start();
    },
  };
}
