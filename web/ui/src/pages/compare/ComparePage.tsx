/** Runs side by side: config, summary and details, optionally only the differences. */

import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { diffQuery, runsQuery } from "../../api/queries";
import type { ProjectRef, Run } from "../../api/types";
import { matcher } from "../../state/search";
import { useTitle } from "../../state/useTitle";
import { routes, useView, view } from "../../state/view";
import { BackIcon, CloseIcon } from "../../widgets/icons";
import { Link } from "../../widgets/Link";
import { Loading } from "../../widgets/Loading";
import { Problem } from "../../widgets/Problem";
import { SearchBox } from "../../widgets/SearchBox";
import { StateIcon } from "../../widgets/StateIcon";
import { ThemeButton } from "../shared/CornerButtons";
import { useKeys } from "../shared/useKeys";
import { type Comparison, compare, curveDifferences } from "./compare";

const NO_KEYS: readonly string[] = [];
const MAX_RUNS = 100;

export default function ComparePage({ project }: { project: ProjectRef }) {
  const ids = useView((shown) => shown.compare);
  const from = useView((shown) => shown);
  const found = useQuery(
    runsQuery(project, {
      search: "",
      filter: { run: { $in: ids } },
      order: "-created_at",
      limit: MAX_RUNS,
    }),
  );
  const [isOnlyDifferent, setOnlyDifferent] = useState(true);
  const [search, setSearch] = useState("");
  useTitle(`Compare · ${project.project}`);
  useKeys(NO_KEYS);
  const runs = useMemo(() => {
    const byId = new Map(found.data?.runs.map((run) => [run.run, run]));
    return ids.flatMap((id) => byId.get(id) ?? []);
  }, [found.data, ids]);
  return (
    <main className="compare-page">
      <h1 className="unseen">Compare runs</h1>
      <header className="toolbar">
        <Link className="back" to={routes.back(from)}>
          <BackIcon />
          {project.project}
        </Link>
        <SearchBox
          name="panels"
          label="Search rows"
          placeholder="Search rows, e.g. lr|loss"
          shortcut="/"
          value={search}
          onChange={setSearch}
        />
        <label className="check">
          <input
            type="checkbox"
            checked={isOnlyDifferent}
            onChange={(event) => setOnlyDifferent(event.target.checked)}
          />
          Differences only
        </label>
        <span className="toolbar-space" />
        <ThemeButton />
      </header>
      {found.error ? (
        <Problem error={found.error} onRetry={() => void found.refetch()} />
      ) : found.isPending ? (
        <Loading />
      ) : (
        <Table project={project} runs={runs} search={search} isOnlyDifferent={isOnlyDifferent} />
      )}
    </main>
  );
}

interface TableProps {
  project: ProjectRef;
  runs: readonly Run[];
  search: string;
  isOnlyDifferent: boolean;
}

function Table({ project, runs, search, isOnlyDifferent }: TableProps) {
  const pair = useMemo(() => runs.map(({ run }) => run), [runs]);
  const { data: diff } = useQuery(diffQuery(project, pair));
  const all = useMemo(
    () => [...compare(runs), ...(diff && runs.length === 2 ? [curveDifferences(diff)] : [])],
    [runs, diff],
  );
  const isMatch = matcher(search);
  const shown = all.map(({ title, rows }) => ({
    title,
    rows: rows.filter(
      ({ path, isSame }) => isMatch(path) && !(isOnlyDifferent && isSame && runs.length > 1),
    ),
  }));
  return (
    <div className="compare-scroll">
      <table className="compare">
        <thead>
          <tr>
            <th scope="col">
              <span className="unseen">Field</span>
            </th>
            {runs.map((run) => (
              <RunHeader key={run.run} run={run} canRemove={runs.length > 1} />
            ))}
          </tr>
        </thead>
        {shown.map(({ title, rows }) => (
          <Section key={title} title={title} rows={rows} columns={runs.length} />
        ))}
      </table>
    </div>
  );
}

function RunHeader({ run, canRemove }: { run: Run; canRemove: boolean }) {
  const from = useView((shown) => shown);
  const name = run.name || run.run;
  return (
    <th scope="col">
      <div className="compare-run">
        <StateIcon state={run.state} />
        <Link to={routes.run(from, run.run)} title={name}>
          {name}
        </Link>
        {canRemove && (
          <button
            type="button"
            className="icon-button"
            aria-label={`Remove ${name}`}
            title="Remove from comparison"
            onClick={() =>
              view.go({ ...from, compare: from.compare.filter((id) => id !== run.run) })
            }
          >
            <CloseIcon />
          </button>
        )}
      </div>
    </th>
  );
}

interface SectionProps {
  title: string;
  rows: Comparison["rows"];
  columns: number;
}

function Section({ title, rows, columns }: SectionProps) {
  return (
    <tbody>
      <tr className="compare-part">
        <th scope="rowgroup" colSpan={columns + 1}>
          {title}{" "}
          <span className="count">{rows.length === 0 ? "no differences" : rows.length}</span>
        </th>
      </tr>
      {rows.map(({ path, texts, isSame }) => (
        <tr key={path} className={isSame ? "is-same" : undefined}>
          <th scope="row" title={path}>
            {path}
          </th>
          {texts.map((text, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: columns have no other id
            <td key={i} title={text}>
              {text || <span className="compare-none">–</span>}
            </td>
          ))}
        </tr>
      ))}
    </tbody>
  );
}
