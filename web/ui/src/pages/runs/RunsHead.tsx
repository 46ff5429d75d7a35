/** Above the list of runs: search, selection, sorting and grouping. */

import { type ReactNode, useState } from "react";
import { useMayWrite } from "../../api/edits";
import { shortPath } from "../../api/paths";
import { runField } from "../../api/runFields";
import type { Run } from "../../api/types";
import { usePage } from "../../state/page";
import {
  DEFAULT_DRAWN,
  firstRuns,
  MAX_DRAWN,
  MAX_GROUPED,
  NEWEST,
  onlyRuns,
} from "../../state/url";
import { useView, view } from "../../state/view";
import { formatStep } from "../../util/format";
import { FieldMenu } from "../../widgets/FieldMenu";
import { ArrowIcon, GroupIcon, UpDownIcon } from "../../widgets/icons";
import { Popover } from "../../widgets/Popover";
import { SearchBox } from "../../widgets/SearchBox";
import { DeleteRuns } from "./DeleteRuns";

export function RunSearch() {
  const search = useView((shown) => shown.search);
  return (
    <SearchBox
      name="runs"
      label="Search runs"
      placeholder="Search runs"
      shortcut="r"
      value={search}
      onChange={view.search}
    />
  );
}

export function RunsBar() {
  return (
    <div className="runs-bar">
      <DrawnMenu />
      <SortMenu />
      <GroupMenu />
    </div>
  );
}

/** "20 of 1,234 selected", and a menu to change the number. */
export function DrawnMenu() {
  const { project, drawn, total, chartOptions } = usePage();
  const mayWrite = useMayWrite(project);
  const [deleting, setDeleting] = useState<readonly Run[] | null>(null);
  const selection = useView((shown) => shown.selection);
  const limit = chartOptions.isGrouped ? MAX_GROUPED : MAX_DRAWN;
  const choices = [5, DEFAULT_DRAWN, 50, 100, MAX_DRAWN, MAX_GROUPED].filter((n) => n <= limit);
  const shownTotal = total === null ? "…" : formatStep(total);
  const text = (
    <>
      <strong>{drawn.length}</strong> of {shownTotal} selected
    </>
  );
  return (
    <>
      <Popover
        label={`${drawn.length} of ${shownTotal} selected: number of selected runs`}
        title="Number of selected runs"
        className="runs-count"
        button={text}
      >
        {(close) => {
          const item = (name: string, isOn: boolean, choose: () => void) => (
            <MenuItem
              key={name}
              isOn={isOn}
              onClick={() => {
                choose();
                close();
              }}
            >
              {name}
            </MenuItem>
          );
          return (
            <ul>
              {choices.map((most) =>
                item(
                  `First ${formatStep(most)}`,
                  !selection.only && selection.most === most && selection.hidden.size === 0,
                  () => view.select(firstRuns(most)),
                ),
              )}
              {mayWrite && drawn.length > 0 && (
                <li>
                  <button
                    type="button"
                    className="menu-item is-danger"
                    onClick={() => {
                      setDeleting(drawn);
                      close();
                    }}
                  >
                    Delete {formatStep(drawn.length)} selected {drawn.length === 1 ? "run" : "runs"}
                    …
                  </button>
                </li>
              )}
              {item("None", selection.only && selection.shown.size === 0, () =>
                view.select(onlyRuns(selection, [])),
              )}
            </ul>
          );
        }}
      </Popover>
      {deleting && (
        <DeleteRuns project={project} runs={deleting} onClose={() => setDeleting(null)} />
      )}
    </>
  );
}

interface ItemProps {
  isOn: boolean;
  onClick(): void;
  children: ReactNode;
}

function MenuItem({ isOn, onClick, children }: ItemProps) {
  return (
    <li>
      <button type="button" className="menu-item" aria-pressed={isOn} onClick={onClick}>
        {children}
      </button>
    </li>
  );
}

function SortMenu() {
  const sort = useView((shown) => shown.sort);
  const path = sort.replace(/^-/, "");
  const isDescending = sort.startsWith("-");
  const button = (
    <>
      <UpDownIcon />
      {sort !== NEWEST && <span className="head-button-text">{shortPath(path)}</span>}
    </>
  );
  return (
    <Popover
      label={sort === NEWEST ? "Sort runs" : `Sort runs: ${shortPath(path)}`}
      title="Sort runs"
      align="right"
      className={sort === NEWEST ? "icon-button" : "head-button is-on"}
      button={button}
    >
      {(close) => (
        <>
          <button
            type="button"
            className="menu-item"
            onClick={() => view.sort(isDescending ? path : `-${path}`)}
          >
            <span className={isDescending ? "menu-check is-down" : "menu-check"}>
              <ArrowIcon />
            </span>
            {isDescending ? "Highest first" : "Lowest first"}
          </button>
          <FieldMenu
            label="Sort by"
            chosen={[path]}
            onPick={(field) => {
              view.sort(isDescending ? `-${field}` : field);
              close();
            }}
          />
        </>
      )}
    </Popover>
  );
}

/** Fields whose values several runs may share. */
const isGroupable = (path: string) =>
  path.startsWith("config.") || runField(path)?.isGroupable === true;

export function GroupMenu() {
  const group = useView((shown) => shown.group);
  const button = (
    <>
      <GroupIcon />
      {group !== null && <span className="head-button-text">{shortPath(group)}</span>}
    </>
  );
  return (
    <Popover
      label={group === null ? "Group runs" : `Group runs: ${shortPath(group)}`}
      title="Group runs (g)"
      align="right"
      className={group === null ? "icon-button group-button" : "head-button is-on group-button"}
      button={button}
    >
      {(close) => (
        <FieldMenu
          label="Group by"
          chosen={group === null ? [] : [group]}
          isOffered={isGroupable}
          none="No grouping"
          onPick={(field) => {
            view.groupBy(field || null);
            close();
          }}
        />
      )}
    </Popover>
  );
}
