/** Above the panels: their search, the zoom, what is drawn, the stream's state and the theme. */

import { formatStep } from "../format";
import type { LiveStatus } from "../state/live";
import { useStore } from "../state/store";
import { type Choice, chooseTheme, useThemeChoice } from "../state/theme";
import { useView, view } from "../state/view";
import { CloseIcon, MenuIcon, MoonIcon, SunIcon, SystemIcon } from "./icons";
import { usePage } from "./page";
import { SearchBox } from "./SearchBox";

export function Toolbar({ onMenu }: { onMenu(): void }) {
  const search = useView((shown) => shown.panelSearch);
  const { project } = usePage();
  return (
    <header className="toolbar">
      <button
        type="button"
        className="icon-button menu-button"
        aria-label="Show the runs"
        onClick={onMenu}
      >
        <MenuIcon />
      </button>
      <span className="toolbar-project">{project.project}</span>
      <SearchBox
        name="panels"
        label="Search panels"
        placeholder="Search panels, e.g. loss|acc"
        shortcut="/"
        value={search}
        onChange={view.searchPanels}
      />
      <span className="toolbar-space" />
      <LeftOut />
      <ZoomChip />
      <LiveBadge />
      <ThemeButton />
    </header>
  );
}

function LeftOut() {
  const { drawn, leftOut } = usePage();
  if (leftOut === 0) return null;
  return (
    <span className="toolbar-note" title="Hide or filter runs to choose which are drawn">
      drawing the newest {drawn.length} of {drawn.length + leftOut}
    </span>
  );
}

function ZoomChip() {
  const range = useView((shown) => shown.range);
  if (!range) return null;
  return (
    <button
      type="button"
      className="chip"
      title="Show all steps (or double-click a panel)"
      onClick={() => view.zoom(null)}
    >
      steps {formatStep(range.from)} – {formatStep(range.to)}
      <CloseIcon />
    </button>
  );
}

const LIVE_TEXT: Record<LiveStatus, string> = {
  connecting: "connecting",
  live: "live",
  reconnecting: "reconnecting",
};

function LiveBadge() {
  const status = useStore(usePage().live.status);
  return (
    <span className={`live is-${status}`} role="status">
      <span className="live-dot" aria-hidden="true" />
      {LIVE_TEXT[status]}
    </span>
  );
}

const NEXT: Record<Choice, Choice> = { system: "light", light: "dark", dark: "system" };

function ThemeButton() {
  const choice = useThemeChoice();
  const title = `Theme: ${choice}. Switch to ${NEXT[choice]}`;
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={title}
      title={title}
      onClick={() => chooseTheme(NEXT[choice])}
    >
      {choice === "system" ? <SystemIcon /> : choice === "light" ? <SunIcon /> : <MoonIcon />}
    </button>
  );
}
