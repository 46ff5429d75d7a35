/** The loaded console lines of a run: the end, kept up to date, and earlier pages on demand. */

import { useCallback, useEffect, useRef, useState } from "react";
import { fetchConsole } from "../../api/media";
import type { ConsoleLine, ConsolePage, ProjectRef } from "../../api/types";
import { mergeLines } from "./merge";

const PAGE = 1_000;
/** Lines at the end that may still change, as with progress bars. */
const TAIL = 400;
const POLL_MS = 1_500;

export interface LinesRequest {
  search: string;
  lane: number | null;
  isLive: boolean;
}

export interface LinesState {
  /** null: not known yet. */
  lines: readonly ConsoleLine[] | null;
  total: number;
  lanes: ConsolePage["lanes"];
  hasEarlier: boolean;
  loadEarlier(): void;
  error: unknown;
  retry(): void;
}

type Known = Pick<LinesState, "lines" | "total" | "lanes" | "hasEarlier" | "error">;

const EMPTY: Known = { lines: null, total: 0, lanes: [], hasEarlier: false, error: null };

export function useLines(
  project: ProjectRef,
  run: string,
  { search, lane, isLive }: LinesRequest,
): LinesState {
  const [known, setKnown] = useState<Known>(EMPTY);
  const [attempt, setAttempt] = useState(0);
  const loading = useRef(false);
  const { entity, project: name } = project;
  const fetchPage = useCallback(
    (more: { end: "first" | "last"; limit: number; before?: string; after?: string }) =>
      fetchConsole({ entity, project: name }, run, { ...more, search, lane: lane ?? undefined }),
    [entity, name, run, search, lane],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: `attempt` retries
  useEffect(() => {
    let isCancelled = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let isFirst = true;
    const poll = async () => {
      if (!isFirst && document.visibilityState === "hidden") {
        timer = setTimeout(poll, POLL_MS);
        return;
      }
      try {
        const page = await fetchPage({ end: "last", limit: isFirst ? PAGE : TAIL });
        if (isCancelled) return;
        const wasFirst = isFirst;
        setKnown((before) => (wasFirst ? fromFirstPage(page) : withNewLines(before, page)));
        isFirst = false;
      } catch (error) {
        if (!isCancelled) setKnown((before) => ({ ...before, error }));
      }
      if (!isCancelled && isLive) timer = setTimeout(poll, POLL_MS);
    };
    void poll();
    return () => {
      isCancelled = true;
      clearTimeout(timer);
    };
  }, [fetchPage, isLive, attempt]);
  const first = known.lines?.[0];
  const loadEarlier = useCallback(() => {
    if (!first || loading.current) return;
    loading.current = true;
    fetchPage({ end: "last", limit: PAGE, before: `${first.line}.${first.lane}` })
      .then((page) =>
        setKnown((before) => ({
          ...before,
          lines: mergeLines(page.lines, before.lines ?? []),
          hasEarlier: page.lines.length === PAGE,
        })),
      )
      .catch((error: unknown) => setKnown((before) => ({ ...before, error, hasEarlier: false })))
      .finally(() => {
        loading.current = false;
      });
  }, [fetchPage, first]);
  return { ...known, loadEarlier, retry: () => setAttempt((before) => before + 1) };
}

function fromFirstPage({ lines, total, lanes }: ConsolePage): Known {
  return { lines, total, lanes, hasEarlier: lines.length < total, error: null };
}

/** Appends new lines, or starts over if there is a gap. */
function withNewLines(before: Known, page: ConsolePage): Known {
  const last = before.lines?.at(-1);
  const isJoined =
    page.lines.length < TAIL || (last && place(page.lines[0]) <= place(last) && before.lines);
  if (!before.lines || !isJoined) return fromFirstPage(page);
  const { total, lanes } = page;
  return { ...before, lines: mergeLines(before.lines, page.lines), total, lanes, error: null };
}

const place = ({ line, lane }: ConsoleLine): number => line * 65_536 + lane;
