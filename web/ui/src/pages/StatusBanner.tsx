/** Problems of the server, above every page. */

import { useQuery } from "@tanstack/react-query";
import { useId, useState } from "react";
import { ApiError } from "../api/http";
import { statusQuery } from "../api/queries";
import type { StatedProblem } from "../api/types";
import { useNow } from "../state/useNow";
import { formatAge } from "../util/format";
import { ChevronIcon, WarningIcon } from "../widgets/icons";

/** Detected by the page itself. */
const UNREACHABLE: StatedProblem = {
  code: "server_unreachable",
  text: "The server is not responding.",
  subject: "",
  since: 0,
  hint: "This page reconnects automatically. Clients keep their data until the server is back.",
  stops: true,
};

export function StatusBanner() {
  const status = useQuery(statusQuery);
  const problems = isUnreachable(status.error) ? [UNREACHABLE] : (status.data ?? []);
  return problems.length > 0 ? <Banner problems={problems} /> : null;
}

/** Whether there was no response, or none in time. Other errors show up on the page. */
function isUnreachable(error: Error | null): boolean {
  return error instanceof ApiError ? error.status === 0 : error?.name === "TimeoutError";
}

/** Formats text between backticks as code. */
function withCode(text: string) {
  // biome-ignore lint/suspicious/noArrayIndexKey: parts of one text do not move.
  return text.split("`").map((part, i) => (i % 2 ? <code key={i}>{part}</code> : part));
}

function sinceText(sinceS: number, nowS: number): string {
  const age = formatAge(sinceS, nowS);
  return age === "now" ? "just now" : `for ${age}`;
}

function Banner({ problems }: { problems: readonly StatedProblem[] }) {
  const [isOpen, setOpen] = useState(false);
  const listId = useId();
  const now = useNow(10_000);
  const stops = problems.some((problem) => problem.stops);
  const more = problems.length - 1;
  const shown = isOpen ? problems : problems.slice(0, 1);
  return (
    <section className={`status-banner ${stops ? "stops" : ""}`} aria-label="Server status">
      <WarningIcon />
      <ul id={listId} role="status">
        {shown.map((problem) => (
          <li key={`${problem.code} ${problem.subject}`}>
            <strong>{problem.text}</strong> <span>{withCode(problem.hint)}</span>
            {problem.since > 0 && (
              <time dateTime={new Date(problem.since * 1000).toISOString()}>
                {sinceText(problem.since, now)}
              </time>
            )}
          </li>
        ))}
      </ul>
      {more > 0 && (
        <button
          type="button"
          aria-expanded={isOpen}
          aria-controls={listId}
          onClick={() => setOpen(!isOpen)}
        >
          {isOpen ? "Show less" : `${more} more`}
          <ChevronIcon />
        </button>
      )}
    </section>
  );
}
