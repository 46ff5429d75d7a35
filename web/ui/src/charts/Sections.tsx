/** The page's panels, in one collapsible section per prefix. */

import { useMemo, useState } from "react";
import { ChevronIcon } from "../app/icons";
import { usePage } from "../app/page";
import { matcher } from "../state/search";
import { useView, view } from "../state/view";
import { Panel } from "./Panel";
import { type Section, toSections } from "./sections";

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
      // Without storage the sections are open again next time.
    }
  };
  return [collapsed, toggle];
}

export function Sections({ keys }: { keys: readonly string[] }) {
  const search = useView((shown) => shown.panelSearch);
  const [collapsed, toggle] = useCollapsed();
  const sections = useMemo(() => toSections(keys.filter(matcher(search))), [keys, search]);
  if (sections.length === 0) {
    return (
      <div className="note">
        <h2>No panel matches “{search}”</h2>
        <p>The search takes part of a name or a regular expression, such as loss|acc.</p>
        <button type="button" className="button" onClick={() => view.searchPanels("")}>
          Clear the search
        </button>
      </div>
    );
  }
  return sections.map((section) => (
    <SectionView
      key={section.name}
      section={section}
      isOpen={search !== "" || !collapsed.has(section.name)}
      onToggle={() => toggle(section.name)}
    />
  ));
}

interface SectionProps {
  section: Section;
  isOpen: boolean;
  onToggle(): void;
}

function SectionView({ section, isOpen, onToggle }: SectionProps) {
  return (
    <section className="section">
      <h2 className="section-head">
        <button type="button" className="section-toggle" aria-expanded={isOpen} onClick={onToggle}>
          <ChevronIcon />
          {section.name || "Charts"}
          <span className="count">{section.keys.length}</span>
        </button>
      </h2>
      {isOpen && (
        <div className="grid">
          {section.keys.map((key) => (
            <Panel key={key} name={key} />
          ))}
        </div>
      )}
    </section>
  );
}
