/** What all parts of a project's page share. */

import { createContext, useContext } from "react";
import type { ChartOptions, Series } from "../api/curves";
import type { ProjectRef, Range, Run } from "../api/types";
import type { FeedCache } from "../charts/feedCache";
import type { Live } from "./live";
import type { Query } from "./useRuns";

export interface Page {
  project: ProjectRef;
  live: Live;
  feedCache: FeedCache;
  query: Query;
  /** The runs drawn, in the order of the query. */
  drawn: readonly Run[];
  /** How many runs the query has; null: not known yet. */
  total: number | null;
  isLoading: boolean;
  /** What a curve is of, in drawing order. */
  series: readonly Series[];
  chartOptions: ChartOptions;
  /** By series. */
  names: ReadonlyMap<string, string>;
  colours: ReadonlyMap<string, string>;
  /** Which series a drawn run belongs to. */
  seriesOf: ReadonlyMap<string, string>;
  /** Steps over all drawn runs. */
  domain: Range | null;
}

const PageContext = createContext<Page | null>(null);
export const PageProvider = PageContext.Provider;

export function usePage(): Page {
  const page = useContext(PageContext);
  if (!page) throw new Error("usePage outside of a project's page");
  return page;
}
