/** Toolbar of the charts and the table: search, layout, chart settings, connection state, theme. */

import { formatX } from "../../charts/axis";
import { ChartControls } from "../../panels/chart/ChartSettings";
import { usePage } from "../../state/page";
import { routes, useView, view } from "../../state/view";
import { ChartIcon, CloseIcon, CompareIcon, MenuIcon, TableIcon } from "../../widgets/icons";
import { Link } from "../../widgets/Link";
import { SearchBox } from "../../widgets/SearchBox";
import { Segments } from "../../widgets/Segments";
import { CornerButtons } from "./CornerButtons";

export function ChartsToolbar({ onMenu }: { onMenu(): void }) {
  const { project } = usePage();
  return (
    <header className="toolbar">
      <button
        type="button"
        className="icon-button menu-button"
        aria-label="Show runs"
        onClick={onMenu}
      >
        <MenuIcon />
      </button>
      <span className="toolbar-project">{project.project}</span>
      <LayoutSegments />
      <PanelSearch />
      <CompareLink />
      <span className="toolbar-space" />
      <ZoomChip />
      <ChartControls />
      <CornerButtons />
    </header>
  );
}

export function PanelSearch() {
  const search = useView((shown) => shown.panelSearch);
  return (
    <SearchBox
      name="panels"
      label="Search panels"
      placeholder="Search panels, e.g. loss|acc"
      shortcut="/"
      value={search}
      onChange={view.searchPanels}
    />
  );
}

export function LayoutSegments() {
  const isTable = useView((shown) => shown.isTable);
  return (
    <Segments
      label="Layout"
      options={[
        ["charts", <ChartIcon key="charts" />, "Charts (t)"],
        ["table", <TableIcon key="table" />, "Table (t)"],
      ]}
      value={isTable ? "table" : "charts"}
      onChange={(layout) => view.showTable(layout === "table")}
    />
  );
}

/** Maximum number of runs in a comparison. */
const MAX_COMPARED = 24;

export function CompareLink() {
  const { drawn } = usePage();
  const from = useView((shown) => shown);
  if (drawn.length < 2) return null;
  const runs = drawn.slice(0, MAX_COMPARED).map(({ run }) => run);
  return (
    <Link
      className="icon-button"
      to={routes.compare(from, runs)}
      aria-label={`Compare ${runs.length} selected runs`}
      title={`Compare ${runs.length} selected runs`}
    >
      <CompareIcon />
    </Link>
  );
}

export function ZoomChip() {
  const range = useView((shown) => shown.range);
  const x = useView((shown) => shown.x);
  if (!range) return null;
  return (
    <button
      type="button"
      className="chip"
      title="Reset zoom (or double-click a chart)"
      onClick={() => view.zoom(null)}
    >
      {x === "step" && "steps "}
      {formatX(x, range.from)} – {formatX(x, range.to)}
      <CloseIcon />
    </button>
  );
}
