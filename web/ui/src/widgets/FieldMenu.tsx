/** A searchable list of fields, for sorting, grouping and columns. */

import { useState } from "react";
import { RUN_FIELDS } from "../api/runFields";
import { usePage } from "../state/page";
import { matcher } from "../state/search";
import { CheckIcon } from "./icons";

interface Props {
  label: string;
  chosen: readonly string[];
  /** Label of a first option with the value "". */
  none?: string;
  isOffered?(path: string): boolean;
  onPick(path: string): void;
}

const MAX_FIELDS = 200;

export function FieldMenu({ label, chosen, none, isOffered = () => true, onPick }: Props) {
  const { query } = usePage();
  const [search, setSearch] = useState("");
  const isMatch = matcher(search);
  const paths = [...RUN_FIELDS, ...query.fields].map(({ path }) => path);
  const found = paths.filter((path) => isOffered(path) && isMatch(path));
  const shown = found.slice(0, MAX_FIELDS);
  return (
    <>
      <input
        className="menu-search"
        aria-label={label}
        placeholder={`${label}…`}
        value={search}
        spellCheck={false}
        // biome-ignore lint/a11y/noAutofocus: the menu was opened to type into
        autoFocus
        onChange={(event) => setSearch(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter" && shown.length > 0) onPick(shown[0]);
        }}
      />
      <ul>
        {none && search === "" && (
          <FieldRow path={none} isOn={chosen.length === 0} onPick={() => onPick("")} />
        )}
        {shown.map((path) => (
          <FieldRow
            key={path}
            path={path}
            isOn={chosen.includes(path)}
            onPick={() => onPick(path)}
          />
        ))}
      </ul>
      {found.length === 0 && <p className="menu-none">No matches.</p>}
      {found.length > MAX_FIELDS && (
        <p className="menu-none">{found.length - MAX_FIELDS} more. Type to narrow the list.</p>
      )}
    </>
  );
}

function FieldRow({ path, isOn, onPick }: { path: string; isOn: boolean; onPick(): void }) {
  return (
    <li>
      <button type="button" className="menu-item" aria-pressed={isOn} onClick={onPick}>
        <span className="menu-check">{isOn && <CheckIcon />}</span>
        <span className="menu-name">{path}</span>
      </button>
    </li>
  );
}
