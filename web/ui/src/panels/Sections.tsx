/**
 * The page's panels, in one collapsible section per prefix. The rows are virtualized: only those near
 * the viewport are rendered, so that ten thousand panels cost no more than ten.
 */

import { useVirtualizer } from "@tanstack/react-virtual";
import { type RefObject, useEffect, useMemo, useRef, useState } from "react";
import { usePage } from "../state/page";
import { matcher } from "../state/search";
import { useView, view } from "../state/view";
import { ChevronIcon } from "../widgets/icons";
import { keysOf, type Logged, loggedKey } from "./model/logged";
import { type Row, toRows } from "./model/rows";
import { toSections } from "./model/sections";
import { PanelFrame } from "./PanelFrame";
import { registry } from "./registry";

/** Widths of the list at which another column is added. */
const COLUMNS_FROM_PX = [620, 980, 1_640];

function useCollapsed(): [ReadonlySet<string>, (name: string) => void] {
  const { entity, project } = usePage().project;
  const storageKey = `penstock.collapsed.${entity}/${project}`;
  const [collapsed, setCollapsed] = useState<ReadonlySet<string>>(() => {
    try {
      return new Set(JSON.parse(localStorage.getItem(storageKey) ?? "[]") as string[]);
    } catch {
      return new Set();
    }
  });
  const toggle = (name: string) => {
    const next = new Set(collapsed);
    if (!next.delete(name)) next.add(name);
    setCollapsed(next);
    try {
      localStorage.setItem(storageKey, JSON.stringify([...next]));
    } catch {
      // Without storage, sections are expanded again next time.
    }
  };
  return [collapsed, toggle];
}

function useColumns(host: RefObject<HTMLElement | null>): number {
  const [columns, setColumns] = useState(0);
  useEffect(() => {
    if (!host.current) return;
    const observer = new ResizeObserver(([{ contentRect }]) =>
      setColumns(1 + COLUMNS_FROM_PX.filter((width) => contentRect.width >= width).length),
    );
    observer.observe(host.current);
    return () => observer.disconnect();
  }, [host]);
  return columns;
}

const NONE: ReadonlySet<string> = new Set();

interface Props {
  logged: Logged;
  scroller: RefObject<HTMLElement | null>;
}

export function Sections({ logged, scroller }: Props) {
  const search = useView((shown) => shown.panelSearch);
  const pinned = useView((shown) => shown.pinned);
  const log = useView((shown) => shown.log);
  const [collapsed, toggle] = useCollapsed();
  const host = useRef<HTMLDivElement>(null);
  const columns = useColumns(host);
  const sections = useMemo(
    () => toSections(keysOf(logged).filter(matcher(search)), pinned),
    [logged, search, pinned],
  );
  const rows = useMemo(() => {
    if (columns === 0) return [];
    return toRows(sections, {
      kinds: registry,
      columns,
      collapsed: search ? NONE : collapsed,
      loggedKey: (key) => loggedKey(key, logged, log),
    });
  }, [sections, columns, collapsed, search, logged, log]);
  const list = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => rows[index].height,
    getItemKey: (index) => rows[index].id,
    scrollMargin: host.current?.offsetTop ?? 0,
    overscan: 2,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: row heights changed
  useEffect(() => list.measure(), [rows, list]);
  const isNone = sections.length === 0;
  return (
    <div ref={host} className="sections" style={isNone ? {} : { height: list.getTotalSize() }}>
      {isNone && <NoMatch search={search} />}
      {list.getVirtualItems().map(({ index, key, start }) => (
        <RowView
          key={key}
          row={rows[index]}
          top={start - list.options.scrollMargin}
          onToggle={toggle}
        />
      ))}
    </div>
  );
}

interface RowProps {
  row: Row;
  top: number;
  onToggle(name: string): void;
}

function RowView({ row, top, onToggle }: RowProps) {
  const style = { transform: `translateY(${top}px)` };
  if (row.kind === "panels") {
    const gridTemplateColumns = `repeat(${row.columns}, minmax(0, 1fr))`;
    return (
      <div className="sections-row grid" style={{ ...style, gridTemplateColumns }}>
        {row.panels.map((panel) => (
          <PanelFrame key={panel.id} panel={panel} kind={registry.kindOf(panel)} />
        ))}
      </div>
    );
  }
  const { section, isOpen } = row;
  return (
    <h2 className="sections-row section-head" style={style}>
      <button
        type="button"
        className="section-toggle"
        aria-expanded={isOpen}
        onClick={() => onToggle(section.id)}
      >
        <ChevronIcon />
        {section.name || "Charts"}
        <span className="count">{section.keys.length}</span>
      </button>
    </h2>
  );
}

function NoMatch({ search }: { search: string }) {
  return (
    <div className="note">
      <h2>No panels match “{search}”</h2>
      <p>Search by name or regular expression, for example loss|acc.</p>
      <button type="button" className="button" onClick={() => view.searchPanels("")}>
        Clear search
      </button>
    </div>
  );
}
