/** Media keys (images, tables, histograms …) of the project, or of `runs`. */

import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { mediaKeysQuery } from "../../api/media";
import type { ProjectRef } from "../../api/types";

/** Kinds by key; null: not known yet. Empty after an error, so that charts do not have to wait. */
export function useMediaKeys(
  project: ProjectRef,
  runs: readonly string[] | null = null,
): ReadonlyMap<string, readonly string[]> | null {
  const { data, isPending } = useQuery(mediaKeysQuery(project, runs));
  return useMemo(
    () => (isPending ? null : new Map((data ?? []).map(({ key, kinds }) => [key, kinds]))),
    [data, isPending],
  );
}
