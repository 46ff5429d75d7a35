/** Asks for an API key; the session is in a cookie that scripts cannot read. */

import { type FormEvent, useState } from "react";
import { ApiError } from "../api/http";
import { logIn } from "../api/queries";
import { Wordmark } from "../widgets/Wordmark";

export function Login({ onDone }: { onDone(): void }) {
  const [key, setKey] = useState("");
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem("");
    try {
      await logIn(key.trim());
      onDone();
    } catch (error) {
      const isWrong = error instanceof ApiError && error.status === 401;
      setProblem(isWrong ? "Invalid API key." : String((error as Error).message));
      setBusy(false);
    }
  };
  return (
    <main className="login">
      <form className="login-card" onSubmit={submit}>
        <Wordmark />
        <h1>Log in</h1>
        <label htmlFor="api-key">API key</label>
        <input
          id="api-key"
          className="field"
          type="password"
          autoComplete="current-password"
          placeholder="penstock_…"
          value={key}
          // biome-ignore lint/a11y/noAutofocus: the page's one field
          autoFocus
          aria-invalid={problem !== ""}
          aria-describedby="login-note"
          onChange={(event) => setKey(event.target.value)}
        />
        <button type="submit" className="button is-primary" disabled={isBusy || key.trim() === ""}>
          {isBusy ? "Logging in…" : "Log in"}
        </button>
        <p id="login-note" className={problem ? "login-note bad" : "login-note"} role="status">
          {problem || "penstock up prints a key when it starts."}
        </p>
      </form>
    </main>
  );
}
