/** Edits name, tags and notes of a run in place, and deletes it. */

import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { changeRun, useMayWrite } from "../../api/edits";
import { askForLogin } from "../../api/http";
import type { ProjectRef, Run, RunEdit } from "../../api/types";
import { routes, view } from "../../state/view";
import { EditIcon, TrashIcon } from "../../widgets/icons";
import { DeleteRuns } from "../runs/DeleteRuns";

interface Props {
  project: ProjectRef;
  run: Run;
  /** Shown while not editing. */
  children: ReactNode;
}

export function RunActions({ project, run, children }: Props) {
  const mayWrite = useMayWrite(project);
  const [isEditing, setEditing] = useState(false);
  const [isDeleting, setDeleting] = useState(false);
  if (isEditing) return <EditForm project={project} run={run} onDone={() => setEditing(false)} />;
  return (
    <>
      {children}
      {mayWrite ? (
        <p className="about-actions">
          <button type="button" className="text-button" onClick={() => setEditing(true)}>
            <EditIcon />
            Edit
          </button>
          <button type="button" className="text-button is-danger" onClick={() => setDeleting(true)}>
            <TrashIcon />
            Delete
          </button>
        </p>
      ) : (
        <p className="about-actions">
          <button type="button" className="text-button" onClick={askForLogin}>
            Log in to edit or delete
          </button>
        </p>
      )}
      {isDeleting && (
        <DeleteRuns
          project={project}
          runs={[run]}
          onDeleted={() => view.go(routes.back({ ...view.get(), project }))}
          onClose={() => setDeleting(false)}
        />
      )}
    </>
  );
}

function EditForm({ project, run, onDone }: Omit<Props, "children"> & { onDone(): void }) {
  const client = useQueryClient();
  const [name, setName] = useState(run.name || run.run);
  const [tags, setTags] = useState(run.tags.join(", "));
  const [notes, setNotes] = useState(run.notes);
  const [problem, setProblem] = useState("");
  const save = async (event: FormEvent) => {
    event.preventDefault();
    const change: RunEdit = {
      name: name.trim() || run.run,
      tags: tags
        .split(",")
        .map((tag) => tag.trim())
        .filter(Boolean),
      notes,
    };
    try {
      await changeRun(client, project, run.run, change);
      onDone();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : "The changes were not saved.");
    }
  };
  return (
    <form
      className="about-edit"
      aria-label="Edit run"
      onSubmit={save}
      onKeyDown={(event) => {
        if (event.key === "Escape") onDone();
      }}
    >
      <label>
        Name
        <input
          className="field"
          value={name}
          maxLength={1_000}
          // biome-ignore lint/a11y/noAutofocus: the user just opened the form
          autoFocus
          onFocus={(event) => event.target.select()}
          onChange={(event) => setName(event.target.value)}
        />
      </label>
      <label>
        Tags
        <input
          className="field"
          value={tags}
          placeholder="baseline, best"
          onChange={(event) => setTags(event.target.value)}
        />
      </label>
      <label>
        Notes
        <textarea
          className="field"
          rows={3}
          value={notes}
          onChange={(event) => setNotes(event.target.value)}
        />
      </label>
      {problem && (
        <p className="confirm-problem" role="alert">
          {problem}
        </p>
      )}
      <div className="confirm-buttons">
        <button type="button" className="button" onClick={onDone}>
          Cancel
        </button>
        <button type="submit" className="button is-primary">
          Save
        </button>
      </div>
    </form>
  );
}
