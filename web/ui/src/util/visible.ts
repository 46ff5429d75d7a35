/** What a page does only while somebody can see it. */

const HIDDEN_MS = 5_000;

/**
 * Calls `start` now and whenever the page is shown again, and `stop` once it has been hidden for some
 * seconds: switching tabs back and forth changes nothing. Returns how to end it.
 */
export function whileVisible(start: () => void, stop: () => void): () => void {
  let isOn = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const turn = (on: boolean) => {
    if (isOn === on) return;
    isOn = on;
    if (on) start();
    else stop();
  };
  const look = () => {
    clearTimeout(timer);
    if (document.visibilityState === "visible") turn(true);
    else timer = setTimeout(() => turn(false), HIDDEN_MS);
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    document.removeEventListener("visibilitychange", look);
    clearTimeout(timer);
    turn(false);
  };
}
