/** Keys of the project, or of `runs`, kept up to date. */

import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { mediaKeysQuery } from "../api/media";
import { keysQuery } from "../api/queries";
import type { ProjectRef } from "../api/types";
import { isChartKey, type Logged } from "./model/logged";

export interface LoggedState {
  /** The media are empty after an error, so that charts do not have to wait. */
  logged: Logged;
  /** Of the metrics. */
  error: unknown;
  retry(): void;
}

export function useLogged(project: ProjectRef, runs: readonly string[] | null = null): LoggedState {
  const known = useQuery(keysQuery(project, runs));
  const media = useQuery(mediaKeysQuery(project, runs));
  const logged = useMemo<Logged>(
    () => ({
      metrics: known.data ? new Set(known.data.map(({ key }) => key).filter(isChartKey)) : null,
      media: media.isPending
        ? null
        : new Map((media.data ?? []).map(({ key, kinds }) => [key, kinds])),
    }),
    [known.data, media.data, media.isPending],
  );
  return { logged, error: known.error, retry: () => void known.refetch() };
}
