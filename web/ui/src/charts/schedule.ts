/**
 * Spreads painting over frames, so that many panels can repaint without making the pointer stutter.
 * A painter that is scheduled several times runs once; a frame starts no new one after 10 ms.
 */

const BUDGET_MS = 10;
const waiting = new Set<() => void>();
let isScheduled = false;

function run(): void {
  isScheduled = false;
  const until = performance.now() + BUDGET_MS;
  for (const paint of waiting) {
    waiting.delete(paint);
    paint();
    if (performance.now() >= until) break;
  }
  if (waiting.size > 0) wake();
}

function wake(): void {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(run);
}

export function schedule(paint: () => void): void {
  waiting.add(paint);
  wake();
}

export function unschedule(paint: () => void): void {
  waiting.delete(paint);
}
