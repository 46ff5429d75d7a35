/** Console output of a run: follows the end while it is running, loads earlier lines on scrolling. */

import { useVirtualizer } from "@tanstack/react-virtual";
import { useDeferredValue, useEffect, useLayoutEffect, useRef, useState } from "react";
import type { ConsoleLine, ProjectRef } from "../../api/types";
import { formatStep } from "../../util/format";
import { ArrowIcon } from "../../widgets/icons";
import { Loading } from "../../widgets/Loading";
import { Problem } from "../../widgets/Problem";
import { SearchBox } from "../../widgets/SearchBox";
import { Line } from "./Line";
import { useLines } from "./useLines";

const LINE_PX = 20;
/** Within this distance of the end, new lines are followed. */
const FOLLOW_PX = 60;
const NEAR_TOP_LINES = 40;

interface Props {
  project: ProjectRef;
  run: string;
  state: string;
}

export default function Logs({ project, run, state }: Props) {
  const [search, setSearch] = useState("");
  const [lane, setLane] = useState<number | null>(null);
  const wanted = useDeferredValue(search.trim());
  const console = useLines(project, run, { search: wanted, lane, isLive: state === "running" });
  const { lines, total, lanes, error } = console;
  const ranks = new Set(lanes.map(({ rank }) => rank));
  if (error && lines === null) return <Problem error={error} onRetry={console.retry} />;
  return (
    <section className="logs" aria-label="Logs">
      <div className="logs-bar">
        <SearchBox
          name="lines"
          label="Search logs"
          placeholder="Search logs"
          shortcut="/"
          value={search}
          onChange={setSearch}
        />
        {lanes.length > 1 && (
          <select
            className="select"
            aria-label="Writer"
            value={lane ?? ""}
            onChange={({ target }) => setLane(target.value === "" ? null : Number(target.value))}
          >
            <option value="">All writers</option>
            {lanes.map((each) => (
              <option key={each.lane} value={each.lane}>
                {ranks.size === lanes.length ? `Rank ${each.rank}` : each.writer}
              </option>
            ))}
          </select>
        )}
        <span className="toolbar-space" />
        <span className="count" role="status">
          {lines !== null && `${formatStep(total)} ${countName(total, wanted !== "")}`}
        </span>
      </div>
      {lines === null ? (
        <Loading />
      ) : lines.length === 0 ? (
        <NoLines isSearched={wanted !== ""} isLive={state === "running"} />
      ) : (
        <Lines
          key={`${wanted} ${lane}`}
          lines={lines}
          search={wanted}
          hasEarlier={console.hasEarlier}
          onEarlier={console.loadEarlier}
          isRanked={ranks.size > 1 && lane === null}
          rankOf={new Map(lanes.map((each) => [each.lane, each.rank]))}
        />
      )}
    </section>
  );
}

function countName(total: number, isSearched: boolean): string {
  if (isSearched) return total === 1 ? "match" : "matches";
  return total === 1 ? "line" : "lines";
}

function NoLines({ isSearched, isLive }: { isSearched: boolean; isLive: boolean }) {
  return (
    <div className="note">
      <h2>{isSearched ? "No matching lines" : "No output"}</h2>
      <p>
        {isSearched
          ? "The search ignores case and covers every line of the run."
          : isLive
            ? "Output appears here within seconds."
            : "This run has no console output."}
      </p>
    </div>
  );
}

interface LinesProps {
  lines: readonly ConsoleLine[];
  search: string;
  hasEarlier: boolean;
  onEarlier(): void;
  isRanked: boolean;
  rankOf: ReadonlyMap<number, number>;
}

function Lines({ lines, search, hasEarlier, onEarlier, isRanked, rankOf }: LinesProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const [isFollowing, setFollowing] = useState(true);
  const list = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => LINE_PX,
    getItemKey: (index) => `${lines[index].line}.${lines[index].lane}`,
    overscan: 30,
  });
  const first = `${lines[0].line}.${lines[0].lane}`;
  const held = useRef({ first, count: lines.length });
  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const before = held.current;
    held.current = { first, count: lines.length };
    // Lines inserted at the top must not move the visible ones.
    if (first !== before.first) element.scrollTop += (lines.length - before.count) * LINE_PX;
    else if (isFollowing) element.scrollTop = element.scrollHeight;
  }, [first, lines, isFollowing]);
  const inView = list.getVirtualItems();
  const isNearTop = (inView[0]?.index ?? Number.POSITIVE_INFINITY) < NEAR_TOP_LINES;
  useEffect(() => {
    if (isNearTop && !isFollowing && hasEarlier && lines.length > 0) onEarlier();
  }, [isNearTop, isFollowing, hasEarlier, lines, onEarlier]);
  return (
    <div className="logs-frame">
      <div
        ref={scroller}
        className="logs-scroll"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls
        tabIndex={0}
        onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) =>
          setFollowing(scrollHeight - clientHeight - scrollTop < FOLLOW_PX)
        }
      >
        <div className="logs-lines" style={{ height: list.getTotalSize() }}>
          <div style={{ transform: `translateY(${inView[0]?.start ?? 0}px)` }}>
            {inView.map(({ index, key }) => (
              <Line
                key={key}
                line={lines[index]}
                search={search}
                rank={isRanked ? (rankOf.get(lines[index].lane) ?? null) : null}
              />
            ))}
          </div>
        </div>
      </div>
      {!isFollowing && (
        <button
          type="button"
          className="logs-end"
          onClick={() => {
            setFollowing(true);
            if (scroller.current) scroller.current.scrollTop = scroller.current.scrollHeight;
          }}
        >
          <ArrowIcon />
          Jump to end
        </button>
      )}
    </div>
  );
}
