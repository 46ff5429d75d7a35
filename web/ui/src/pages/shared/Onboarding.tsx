/** What a fresh server shows: how the first run gets here. */

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
      <p>Log from a training script; its curves appear here by themselves.</p>
      <Snippet text={SCRIPT} label="Python" />
      <p>Or look at something that moves first:</p>
      <Snippet text="penstock demo" label="Shell" />
      <p className="waiting">
        <span className="pulse" aria-hidden="true" />
        Waiting for the first run
      </p>
    </div>
  );
}
