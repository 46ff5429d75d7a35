/** Top right of every page: connection state, theme and logout. */

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { logOut, viewerQuery } from "../../api/queries";
import type { Live, LiveStatus } from "../../state/live";
import { usePage } from "../../state/page";
import { useStore } from "../../state/store";
import { type Choice, chooseTheme, useThemeChoice } from "../../state/theme";
import { LogOutIcon, MoonIcon, SunIcon, SystemIcon } from "../../widgets/icons";

export function CornerButtons() {
  const { live } = usePage();
  return (
    <span className="corner">
      <LiveBadge live={live} />
      <ThemeButton />
      <LogOutButton />
    </span>
  );
}

const LIVE_TEXT: Record<LiveStatus, string> = {
  connecting: "connecting",
  live: "live",
  reconnecting: "reconnecting",
};

function LiveBadge({ live }: { live: Live }) {
  const status = useStore(live.status);
  return (
    <span className={`live is-${status}`} role="status">
      <span className="live-dot" aria-hidden="true" />
      {LIVE_TEXT[status]}
    </span>
  );
}

const NEXT: Record<Choice, Choice> = { system: "light", light: "dark", dark: "system" };

export function ThemeButton() {
  const choice = useThemeChoice();
  const title = `Theme: ${choice}. Switch to ${NEXT[choice]}`;
  return (
    <button
      type="button"
      className="icon-button"
      aria-label={title}
      title={title}
      onClick={() => chooseTheme(NEXT[choice])}
    >
      {choice === "system" ? <SystemIcon /> : choice === "light" ? <SunIcon /> : <MoonIcon />}
    </button>
  );
}

/** Shown only after a login. */
export function LogOutButton() {
  const client = useQueryClient();
  const viewer = useQuery(viewerQuery);
  if (!viewer.data?.login_required && !viewer.data?.may_write) return null;
  const leaveSession = async () => {
    await logOut();
    // Refetching the viewer without the cookie shows the login again.
    await client.resetQueries();
  };
  return (
    <button
      type="button"
      className="icon-button"
      aria-label="Log out"
      title="Log out"
      onClick={leaveSession}
    >
      <LogOutIcon />
    </button>
  );
}
