/** State shared by all parts of a project or run page, as a React context. */

import { createContext, useContext } from "react";
import type { ChartOptions } from "../api/chartOptions";
import type { Series } from "../api/curves";
import type { ProjectRef, Range, Run } from "../api/types";
import type { FeedCache } from "../charts/feedCache";
import type { Live } from "./live";
import type { Query } from "./useRuns";

export interface Page {
  project: ProjectRef;
  live: Live;
  feedCache: FeedCache;
  query: Query;
  /** The selected runs, in the order of the query. */
  drawn: readonly Run[];
  /** Number of runs in the query; null: not known yet. */
  total: number | null;
  isLoading: boolean;
  /** In drawing order. */
  series: readonly Series[];
  chartOptions: ChartOptions;
  /** By series. */
  names: ReadonlyMap<string, string>;
  colours: ReadonlyMap<string, string>;
  /** The series of each selected run. */
  seriesOf: ReadonlyMap<string, string>;
  /** Range of steps of the selected runs. */
  domain: Range | null;
}

const PageContext = createContext<Page | null>(null);
export const PageProvider = PageContext.Provider;

export function usePage(): Page {
  const page = useContext(PageContext);
  if (!page) throw new Error("usePage needs a PageProvider");
  return page;
}
