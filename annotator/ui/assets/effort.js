// The effort spent on a photo: keys, clicks, active seconds and the trace of actions. Reset for each photo.
// Knows nothing of the page; the clock is an argument.

const IDLE_SECONDS = 60;

export function createEffort(now = () => performance.now() / 1000) {
  let state;
  let lastActive;
  const reset = () => {
    state = { num_keys: 0, num_clicks: 0, seconds: 0, actions: [] };
    lastActive = now();
  };
  // Time between two inputs counts up to the idle limit; the rest is a pause.
  const active = () => {
    const time = now();
    if (lastActive !== null) state.seconds += Math.min(time - lastActive, IDLE_SECONDS);
    lastActive = time;
  };
  reset();
  return {
    reset,
    active,
    key() {
      active();
      state.num_keys += 1;
    },
    click() {
      active();
      state.num_clicks += 1;
    },
    /** The tab was hidden: no time counts until `resume`. */
    pause() {
      active();
      lastActive = null;
    },
    resume() {
      lastActive = now();
    },
    record(...action) {
      state.actions.push(action);
    },
    report() {
      active();
      return { ...state, seconds: Math.round(state.seconds * 1000) / 1000, actions: [...state.actions] };
    },
  };
}
