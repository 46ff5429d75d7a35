/** What all parts of a project's page share. */

import { createContext, useContext } from "react";
import type { ProjectRef, Range, Run } from "../api/types";
import type { Shelf } from "../charts/shelf";
import type { Live } from "../state/live";

export interface Page {
  project: ProjectRef;
  live: Live;
  shelf: Shelf;
  /** Every run of the project, newest first. */
  runs: readonly Run[];
  /** Those that match the search, newest first. */
  listed: readonly Run[];
  /** Ids of those drawn, oldest first, so that newer curves lie on top. */
  drawn: readonly string[];
  /** Runs shown but not drawn, since a panel takes only so many. */
  leftOut: number;
  names: ReadonlyMap<string, string>;
  colours: ReadonlyMap<string, string>;
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
