/** `/authorize`: where the `wandb` client sends people for their API key. */

import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { makeKey } from "../api/queries";
import type { Viewer } from "../api/types";
import { useTitle } from "../state/useTitle";
import { Problem } from "../widgets/Problem";
import { Snippet } from "../widgets/Snippet";
import { Wordmark } from "../widgets/Wordmark";
import { Login } from "./Login";
import { LogOutButton, ThemeButton } from "./shared/CornerButtons";

const LABEL = "made on the page";

export default function AuthorizePage({ viewer }: { viewer: Viewer }) {
  const client = useQueryClient();
  const [isLoggingIn, setLoggingIn] = useState(false);
  useTitle("API key");
  if (isLoggingIn) {
    const done = async () => {
      await client.resetQueries();
      setLoggingIn(false);
    };
    return <Login onDone={() => void done()} />;
  }
  return (
    <div className="projects-page">
      <header className="toolbar">
        <a href="./">
          <Wordmark />
        </a>
        <span className="toolbar-space" />
        <ThemeButton />
        <LogOutButton />
      </header>
      <main className="onboarding is-authorize">
        <h1>API key</h1>
        {viewer.may_write ? (
          <NewKey entity={viewer.entity} />
        ) : (
          <FindKey onHasKey={() => setLoggingIn(true)} />
        )}
      </main>
    </div>
  );
}

/** Whoever reads without a login is told where a key is found, and shown none. */
function FindKey({ onHasKey }: { onHasKey(): void }) {
  return (
    <>
      <p>
        <code>penstock up</code> prints a key when it starts, and keeps it in the file{" "}
        <code>api_key</code> of its data folder. Take it to the machine that trains:
      </p>
      <Snippet text={loginCommand("penstock_…")} label="Shell" />
      <p>Who has a key can make further ones here, for other machines or people.</p>
      <button type="button" className="button is-primary" onClick={onHasKey}>
        Log in with a key
      </button>
    </>
  );
}

function NewKey({ entity }: { entity: string }) {
  const [made, setMade] = useState("");
  const [problem, setProblem] = useState<unknown>(null);
  const [isBusy, setBusy] = useState(false);
  const make = async () => {
    setBusy(true);
    setProblem(null);
    try {
      setMade(await makeKey(LABEL));
    } catch (error) {
      setProblem(error);
    }
    setBusy(false);
  };
  if (problem) return <Problem error={problem} onRetry={() => void make()} />;
  if (made === "") {
    return (
      <>
        <p>
          A new key reads and writes what belongs to <b>{entity}</b>. Keys made before stay valid.
        </p>
        <button type="button" className="button is-primary" disabled={isBusy} onClick={make}>
          {isBusy ? "Making a key…" : "Make a key"}
        </button>
      </>
    );
  }
  return (
    <>
      <p role="status">This is the one time that it is shown. Copy it now.</p>
      <Snippet text={made} label="API key" />
      <p>Log a machine in with it:</p>
      <Snippet text={loginCommand(made)} label="Shell" />
    </>
  );
}

function loginCommand(key: string): string {
  const base = new URL("./", document.baseURI).href.replace(/\/$/, "");
  return `wandb login --host ${base} ${key}`;
}
