/** Shown while there are no runs: how to log the first one. */

import { Snippet } from "../../widgets/Snippet";

const SCRIPT = `import penstock

run = penstock.init(project="first")
for step in range(1000):
    run.log({"loss": 1 / (step + 1)})
`;

export function Onboarding() {
  return (
    <div className="onboarding">
      <h1>No runs yet</h1>
      <p>Log metrics from a training script, and charts appear here automatically:</p>
      <Snippet text={SCRIPT} label="Python" />
      <p>Or start with a live demo:</p>
      <Snippet text="penstock demo" label="Shell" />
      <p className="waiting">
        <span className="pulse" aria-hidden="true" />
        Waiting for the first run…
      </p>
    </div>
  );
}
