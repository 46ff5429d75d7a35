/** Which keys of the project, or of these runs, hold images, tables, histograms …. */

import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { mediaKeysQuery } from "../../api/media";
import type { ProjectRef } from "../../api/types";

/** Kinds by key; null: not known yet. Who cannot be asked is taken to have none: charts do not wait. */
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
