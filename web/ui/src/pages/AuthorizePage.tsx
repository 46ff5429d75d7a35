/** `/authorize`: the page to which the `wandb` client sends users for an API key. */

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

const LABEL = "created on the web page";

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

/** Visitors without a login see where to find a key, but no key. */
function FindKey({ onHasKey }: { onHasKey(): void }) {
  return (
    <>
      <p>
        <code>penstock up</code> prints an API key when it starts and saves it in the file{" "}
        <code>api_key</code> in its data folder. To log in on your training machine, run:
      </p>
      <Snippet text={loginCommand("penstock_…")} label="Shell" />
      <p>With a key you can log in here and create more, for other machines or people.</p>
      <button type="button" className="button is-primary" onClick={onHasKey}>
        Log in with an API key
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
          A new key can read and write all data of <b>{entity}</b>. Existing keys stay valid.
        </p>
        <button type="button" className="button is-primary" disabled={isBusy} onClick={make}>
          {isBusy ? "Creating key…" : "Create key"}
        </button>
      </>
    );
  }
  return (
    <>
      <p role="status">This key is shown only once. Copy it now.</p>
      <Snippet text={made} label="API key" />
      <p>To log in on a machine, run:</p>
      <Snippet text={loginCommand(made)} label="Shell" />
    </>
  );
}

function loginCommand(key: string): string {
  const base = new URL("./", document.baseURI).href.replace(/\/$/, "");
  return `wandb login --host ${base} ${key}`;
}
