/** What all parts of a project's page share. */

import { createContext, useContext } from "react";
import type { Manner, Member } from "../api/curves";
import type { ProjectRef, Range, Run } from "../api/types";
import type { Shelf } from "../charts/shelf";
import type { Query } from "../runs/useRuns";
import type { Live } from "../state/live";

export interface Page {
  project: ProjectRef;
  live: Live;
  shelf: Shelf;
  query: Query;
  /** The runs drawn, in the order of the query. */
  drawn: readonly Run[];
  /** How many runs the query has; null: not known yet. */
  total: number | null;
  isLoading: boolean;
  /** What a curve is of, in drawing order. */
  members: readonly Member[];
  manner: Manner;
  /** By member. */
  names: ReadonlyMap<string, string>;
  colours: ReadonlyMap<string, string>;
  /** Which member a drawn run belongs to. */
  memberOf: ReadonlyMap<string, string>;
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
